"""The option files that are written: each holds what the file that it replaces held."""
import hashlib
import json

import pytest
import yaml

from ra_plugin.options import OptionError
from ra_plugin.shipped import written
from ra_plugin.shipped.find import option_text
from ra_plugin.utils.yaml_file import read_yaml

# of the content as JSON with sorted keys, taken from the files when they were removed
DIGESTS = {
    'plain_rdn_x4':
        'c41823cb76a7998213229ef932952494742ffcc381dead9357a8e78546c4d15e',
    'unsupervised_rdn_x4':
        'c2d0338fde385bf97e708b4cc4bb296d8b1407bd4b0e6a3be4e359ac10189524',
    'transformer_rdn_x4':
        'd187afc73f1ef2f3c65c945de0ab27d4654f0e36ee4f26acca853612fb32f0c3',
    'plain_dbpn_x4':
        '39431ba372749123484f95b7b01f9ecd8e6fef28d967dca6b815e5ee3b899f4f',
    'ra_dbpn_x4':
        '303be4cad89b13ef44df764e4b4ab429cfb2009d06a7a6662e8860350956a760',
    'unsupervised_dbpn_x4':
        'cf6b525e0ef0608730288874fa8ac9514404197123e169797c73222efc8ed02a',
    'transformer_dbpn_x4':
        '93f8662f992bff412847a95d0e90c2a8a56c647acf134c68aba1445eab85ad9c',
    'plain_srdensenet_x4':
        'd4559c95d43a1a0a2c9db32d0567d789eee5dec234ae6afbf2f2d9488e0e05e6',
    'ra_srdensenet_x4':
        'bd45cf21942bf2ef09623124f716fa353dceec44d6432996f67c13e008ad72cc',
    'unsupervised_srdensenet_x4':
        'fbccc8cfd0e237e42accbc6a0d234c4437a8121d4a8ebc1783e93b0cf381f9e6',
    'transformer_srdensenet_x4':
        'fdb340d6dce734ff52fcb726fec3502ca558cb83dd92ead8bd1a39e6838f4640',
    'plain_srresnet_noise0.1':
        'eae8a4e6f8eeace4931f15865edc2441a5f88bc709b3e177f35f4acacd0f9b91',
    'ra_srresnet_noise0.1_resnet18':
        'c3490ba966c25f1df273d066ba741bab66ab18dae5e2b7ec2eefaf6072f08465',
    'unsupervised_srresnet_noise0.1_resnet18':
        'aaf4cc3a3a86793b4575a8fff036ad82ecafe31dd0049fb8eed8446282d611d8',
    'transformer_srresnet_noise0.1_resnet18':
        '44c018beaf52df3e89d41c0568189715ed048c0aee892465255574ea9ef2727a',
    'plain_srresnet_jpeg10':
        '364e083bc088f698b3087de95663db1655e1df1b25d64bcf2593c2647894f92a',
    'ra_srresnet_jpeg10_resnet18':
        '024e4d8b60c573aa2d6ee827a6b580662fad9c636e49295369efa4a9615e929f',
    'unsupervised_srresnet_jpeg10_resnet18':
        'ed37e5e42406e2bb6be457e02b878bae85c4805ef0fc65c61990b586d50b3aea',
    'transformer_srresnet_jpeg10_resnet18':
        '4cca162ab582659e2e50631342c50312dfdddfd376bfc86b4808f597769f259b',
    'plain_srresnet_snow5':
        '2264f01933fecde5b7fe848b87fc754ab6375ab61f939ab2046f1af38041bf38',
    'ra_srresnet_snow5_resnet18':
        'd33b3a2443edc54e12022f9fcef0a63568b9e4bc56e6a00399d5e5cd74e72c36',
    'unsupervised_srresnet_snow5_resnet18':
        '6786b1d3a3c2edb9678e00575b048f3647f7b3b16847d1a55b4e245ecf7f27f1',
    'transformer_srresnet_snow5_resnet18':
        '647ff7fe8daf90412fc9e5d96fc383a88f4b7a57913765acf4c909eacc6bc6cb',
    'plain_srresnet_x4_voc':
        'b72ee09c57c8d4371ab6f17782421322d1ee74ca4833150f1699f907521dcda1',
    'ra_srresnet_x4_voc_faster_rcnn_r50':
        'dae4024069f794ccf259201063efd128c0c37536f3138366be00762967dab241',
    'ra_srresnet_x4_voc_faster_rcnn_r101':
        'ec863abff3c7556811650969801cde90d001c0582569a01b8667fd6a1b9e0e80',
    'ra_srresnet_x4_voc_faster_rcnn_vgg16':
        '1a9e71bc9354e072df9f5c174af23fb17a01ab27267cae2e5fe26fa2c014b70e',
    'unsupervised_srresnet_x4_voc_faster_rcnn_r18':
        '10eb6b7435147df6aec2fe2d1589df0dfa5cdd0eb874fa65f4dbc3ae797702b8',
    'transformer_srresnet_x4_voc_faster_rcnn_r18':
        '121d1229a0513094214088c0b666ade2ccb4461ed694e2787b4d978d604847a7',
    'ra_srresnet_noise0.1_voc_faster_rcnn_r18':
        '625df1da297d05b8aac664c2609e5027fe0d379a9cbaf2ba92a46a9a54796a33',
    'plain_srresnet_noise0.1_voc':
        'da96ca6262f411e1b00f5f68034d0d0c6068b85cc19853395d9b7542ab18c87c',
    'ra_srresnet_jpeg10_voc_faster_rcnn_r18':
        '81511bc57738bdbecadb55e35a4ac7b20a5320801d4342d721f358f48626a98e',
    'plain_srresnet_jpeg10_voc':
        '5fdff5fcf464224dc024939c65188bddbbf22652e0f05fabf52e23a61ff086ba',
    'plain_srresnet_x4_cityscapes':
        'e42d4685770ead3972812c52ff8c76bdbeb942441704119f1468b9f5cda8ae18',
    'unsupervised_srresnet_x4_cityscapes_hrnet':
        'da46b8c094f7a15659c3856a65f7e1b710206ef1b150c018da7923786536e0d2',
    'joint_srresnet_x4_resnet18':
        '6db74c3ee5c8671f85c40d7737b57b0595edbf0738e9bb99a927c42b3e99adbd',
    'recog_only_srresnet_x4_resnet18':
        '1953e5db4a20ccf9c5b0586aec319a0f988e22bf9152d3665aff3a962e3c72fc',
    'perceptual_srresnet_x4_vgg16':
        'e009b99df961b335a518c6e4069705f4618f3b36bb3b4b63bfbca94003912393',
    'scratch_srresnet_x4_resnet18':
        'f45071da4a6b0c9637cf33767cb5a2ab71c0021f5bfbb855cf0593d8d1c3ce22',
    'scratch_interpolation_x4_resnet18':
        'c2ad08647f4203ec73cd0c3e35a01e5de32d3031601b013bb13a517fc3c23e5f',
    'small/joint_srresnet_x2_cifar10':
        'df588ef2d266b8e06b64c6eb7108e87b27a5b125c2878eef0910ca818f15ff8c',
    'small/recog_only_srresnet_x2_cifar10':
        'ac62aea2b2b3b78406d50914463e40b7bb838a4daf49dc723efdcb3ef83bb128',
    'small/perceptual_srresnet_x2_cifar10':
        '6170acbbfb01ee44e9e9ef368b32fc87812605ccf6e619d9479dff2ebebe9328',
    'small/plain_srresnet_snow5_cifar10':
        '74a9ae55bcde073a204ffdb44f72f3c7f4fc5bbb2ef35959c9ebc2dc7d5f9639',
    'small/ra_srresnet_snow5_cifar10_resnet':
        '603aa5848424ffb07daeb18515e4529c4d1416db217d0665a8606331c8099bd8',
    'small/unsupervised_srresnet_snow5_cifar10_resnet':
        'b2ac8edb9e2685666733f77cbe5e577de00fce3ddda71705a800ab99c6fac699',
    'small/plain_srresnet_x2_cifar10_half_a':
        '4a4b0637ca7cfe5ba0653fc418625c0a2d8506bedb29fd26eceade74c5de06b1',
    'small/ra_srresnet_x2_cifar10_half_a':
        '60971062df1f7289fbfd6a457395f942b02ace5be79b5590ac97f72ceb79efcb',
    'small/plain_srresnet_x2_cifar10_half_b':
        'a659254463b44e1e2a5b061fb0da4fbe5dc1e7300673e80cb11c5bd5544cf1af',
    'small/ra_srresnet_x2_cifar10_half_b':
        '3e857e126217e3a8a19269b3ac20350795948e420876f78858bf78b4d51f843c',
    'small/plain_srresnet_noise0.1_bccd':
        '7d7acf27a0f38ee0ddbe4cb3ce1616b907abbfd3c09a00d54ed3590352157f2e',
    'small/unsupervised_srresnet_noise0.1_bccd_fcos':
        'a51ef42563d3be4d37b3294ffa69cab4e6f8acc01a7f067e12cfa80d75148eae',
    'small/plain_srresnet_noise0.1_camvid':
        'f626e0454afd6a7b69a2321894c9b5775ecd742e61584fbd2e507d8fcc2788d7',
    'small/unsupervised_srresnet_noise0.1_camvid_sem_fpn':
        '7fb468382477f1d3a3cf1de0762c82a517d6f4e88130e1c94635de87187a39e8',
}


# never a file of their own
NEW = {'small/plain_srvgg_x4_words',
       'small/plain_srresnet_noise0.1_cifar10', 'small/unsupervised_srresnet_noise0.1_cifar10_resnet',
       'small/plain_srresnet_jpeg10_cifar10', 'small/unsupervised_srresnet_jpeg10_cifar10_resnet'}


def test_the_table_is_complete():
    assert written.table() == read_yaml(written._TABLE, 'the table')  # which refuses a key that is there twice
    assert written.table()['files'].keys() == DIGESTS.keys() | NEW
    used = {change for entry in written.table()['files'].values() for change in entry.get('with', ())}
    assert written.table()['changes'].keys() == used


@pytest.mark.parametrize('name', DIGESTS)
def test_content_is_that_of_the_removed_file(name):
    text = option_text(f'options/{name}.yml')
    content = json.dumps(yaml.safe_load(text), sort_keys=True)
    assert hashlib.sha256(content.encode()).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize('name', [*DIGESTS, *sorted(NEW)])
def test_a_written_file_keeps_to_the_form(name):
    text = option_text(f'options/{name}.yml')
    lines = text.splitlines()
    assert lines[0].startswith('# ') and all(len(line) <= 120 for line in lines) and text.endswith('\n')


@pytest.mark.parametrize('entry, message', [
    ({'text': {'scale: 5': 'scale: 1'}}, "x: expected the text 'scale: 5' in base.yml, found none"),
    ({'without': ['recog_opt']}, 'x: expected one block recog_opt in base.yml, found 0')])
def test_a_change_that_has_nothing_to_change_is_an_error(entry, message, monkeypatch):
    monkeypatch.setattr(written, 'table', lambda: {'changes': {}, 'files': {'x': {'from': 'base', **entry}}})
    with pytest.raises(OptionError, match=message):
        written.written_text('x', lambda name: 'name: base\nscale: 4\ntrain:\n  total_iter: 1\n')
