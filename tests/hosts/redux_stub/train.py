"""Stand-in of traiNNer-redux's program: takes ``-opt FILE`` and takes three steps on random images."""
import argparse

import torch
from traiNNer.models import build_model
from traiNNer.utils.options import yaml_load

if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('-opt', required=True)
    options, _ = yaml_load(parser.parse_args().opt)
    options.is_train = True
    model = build_model(options)
    torch.manual_seed(0)
    for step in range(3):
        model.feed_data({'lq': torch.rand(2, 3, 8, 8), 'gt': torch.rand(2, 3, 16, 16)})
        model.optimize_parameters(step + 1, 0, True)
        print({name: round(float(value), 5) for name, value in model.log_dict.items()})
