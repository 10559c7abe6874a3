"""Train one of the small classifiers on class folders and write it as float16 safetensors, with its log beside it.

Example:
    python tools/train_recognizer.py TinyResNet --data datasets/cifar10 --epochs 8 --out ra_plugin/weights/x.safetensors
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ra_plugin.checkpoint import load_weights
from ra_plugin.recognizers import tiny_nets, training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('arch', help='a class of ra_plugin.recognizers.tiny_nets')
    parser.add_argument('--data', type=Path, required=True, help='folder with train/, val/ and test/ class folders')
    parser.add_argument('--classes', nargs='+', help='folders to train on, in the order of the labels. Default: all')
    parser.add_argument('--out', type=Path, required=True, help='the .safetensors file; the log gets the suffix .log')
    parser.add_argument('--init', type=Path, help='go on from these weights, with a schedule of its own')
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--lr', type=float, default=0.2, help='peak learning rate')
    parser.add_argument('--optimizer', choices=['SGD', 'AdamW'], default='SGD')
    parser.add_argument('--weight-decay', type=float, default=5e-4)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    settings = {**vars(args), 'out': args.out.name, 'init': args.init and args.init.name, 'torch': torch.__version__}
    lines = [f'{key}: {value}' for key, value in settings.items()]

    def log(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    def read(split: str) -> tuple:
        return training.read_class_folders(args.data / split, args.classes)

    images, labels, classes = read('train')
    val = read('val')[:2]
    net = getattr(tiny_nets, args.arch)(num_classes=len(classes))
    if args.init:
        load_weights(net, args.init, 'train_recognizer')
        lines[:0] = [*args.init.with_suffix('.log').read_text().splitlines(), '', f'Then, from {args.init.name}:']
    log(f'parameters: {sum(p.numel() for p in net.parameters())}')
    training.train_classifier(net, (images, labels), val, epochs=args.epochs, lr=args.lr, optimizer=args.optimizer,
                              weight_decay=args.weight_decay, seed=args.seed, log=log)

    mean, std = training.channel_statistics(images)
    stored = {key: value.half().contiguous() if value.is_floating_point() else value
              for key, value in net.state_dict().items()}
    net.load_state_dict(stored)  # score what is written: weights rounded to float16
    test = read('test')[:2]
    log(f'test top-1 of the stored weights: {training.score(net, test, mean, std):.4f} (n = {len(test[1])})')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, args.out, {'arch': args.arch, 'mean': json.dumps(mean), 'std': json.dumps(std),
                                 'classes': json.dumps(classes)})
    args.out.with_suffix('.log').write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
