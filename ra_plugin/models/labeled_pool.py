"""Labels for the pair pool of RealESRNet and RealESRGAN, which replaces the images of a batch by earlier ones."""
import torch

from ra_plugin.models.host import PoolHost


class LabeledPoolMixin(PoolHost):
    """Mixin that keeps ``self.label`` in step with ``self.lq`` and ``self.gt``; put it before a class with a pair pool.

    The pool draws its new order from torch's CPU generator. The draw is repeated from a copy of the generator, so the
    images, and all random numbers after them, are the same as without labels.
    """

    def _dequeue_and_enqueue(self) -> None:
        if not self.labeled_recognizers() or not hasattr(self, 'label'):
            return super()._dequeue_and_enqueue()
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
        full = getattr(self, 'queue_ptr', 0) == self.queue_size
        super()._dequeue_and_enqueue()
        label, count = self.label, len(self.label)
        if not full:
            if not hasattr(self, 'queue_label'):
                self.queue_label = label.new_zeros(self.queue_size)
            self.queue_label[self.queue_ptr - count:self.queue_ptr] = label
            return
        self.queue_label = self.queue_label[torch.randperm(self.queue_size, generator=generator).to(label.device)]
        if not torch.equal(generator.get_state(), torch.get_rng_state()):
            raise RuntimeError(f'{type(self).__name__}: its pair pool does not draw its order as in BasicSR, so labels '
                               'cannot be matched to images. Use RecogConsistencyLoss, which needs no labels.')
        self.label = self.queue_label[:count].clone()
        self.queue_label[:count] = label
