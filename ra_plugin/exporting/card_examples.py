"""Lines of Python in model cards that run an exported file."""

EXAMPLES = {
    'onnx': '''\
import numpy, onnxruntime
from PIL import Image
image = numpy.asarray(Image.open('photo.png').convert('RGB'), 'float32').transpose(2, 0, 1)[None] / 255
restored = onnxruntime.InferenceSession('{name}').run(None, {{'input': image}})[0].clip(0, 1)
Image.fromarray((restored[0].transpose(1, 2, 0) * 255).round().astype('uint8')).save('restored.png')
''',
    'spandrel': '''\
import spandrel, torch
network = spandrel.ModelLoader().load_from_file('{name}').eval()
image = torch.rand(1, 3, 64, 64)  # RGB, [0, 1]
restored = network(image)
''',
    'basicsr': '''\
import ra_plugin.basicsr, safetensors.torch, torch
from basicsr.archs import build_network
network = build_network({block}).eval()
network.load_state_dict(safetensors.torch.load_file('{name}'))
image = torch.rand(1, 3, 64, 64)  # as in the table
restored = network(image)
'''}
