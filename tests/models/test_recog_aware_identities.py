"""Identities in a training: the consistency loss of an embedding network, and its scores in validation."""
import logging

import pytest
import torch
import torch.nn.functional as F
from test_recog_aware_model import Items, build, options

from ra_plugin.builders.given import check_judges
from ra_plugin.data.class_check import check_classes
from ra_plugin.options import OptionError

FACES = {'type': 'ModuleRecognizer', 'task': 'embedding', 'module': 'tiny_recognizers.tiny_embedding_network',
         'pretrained': False, 'mean': [0.5] * 3, 'std': [0.25] * 3}
PEOPLE, PHOTOS = 12, 4  # 48 images: 72 pairs of one person, 1056 of two


def photos(people=PEOPLE, count=PHOTOS):
    """Images of people in an order that mixes them, each person with colors of his own."""
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand(people, 3, 1, 1, generator=generator)
    items = []
    for number in torch.randperm(people * count, generator=generator).tolist():
        person = number % people
        gt = (faces[person] + 0.15 * torch.rand(3, 16, 16, generator=generator)).clamp(0, 1)
        items.append({'lq': F.interpolate(gt[None], scale_factor=0.5, mode='area')[0], 'gt': gt, 'label': person,
                      'lq_path': f'{number}', 'gt_path': f'{number}'})
    data = Items()
    data.items, data.num_classes, data.labels = items, people, [item['label'] for item in items]
    return data


def model_of(tmp_path, metrics=None):
    opt = options(tmp_path, recog_opt={'type': 'RecogConsistencyLoss', 'loss_weight': 0.1, 'recognizer': FACES})
    opt['val'] = {'metrics': {}, 'recognizers': {'faces': FACES},
                  **({'recognition_metrics': {'embedding': metrics}} if metrics else {})}
    return build(opt)


@pytest.mark.slow
@pytest.mark.parametrize('batch_size', [1, 5])
def test_validation_scores_the_identities_of_all_batches(tmp_path, batch_size):
    model, data = model_of(tmp_path, ['tar_at_far', 'recall_at_1', 'mean_cosine']), photos()
    model.validation(torch.utils.data.DataLoader(data, batch_size), 1, None, save_img=False)
    network, saved = model.eval_recognizers['faces'], []
    with torch.no_grad():
        for key in ('lq', 'gt'):
            images = torch.stack([item[key] for item in data.items])
            images = model.net_g.eval()(images) if key == 'lq' else images
            saved.append(F.normalize(network.vectors((images.clamp(0, 1) * 255).round() / 255).double(), dim=1))
    restored, clean = saved
    similarity, person = restored @ restored.T, torch.tensor(data.labels)
    rows, columns = torch.tril_indices(len(person), len(person), -1)
    values, same = similarity[rows, columns], person[rows] == person[columns]
    limit = values[~same].sort(descending=True).values[len(values[~same]) // 1000]
    nearest = similarity.fill_diagonal_(-2).argmax(1)
    assert model.metric_results == pytest.approx({
        'tar_at_far_faces': (values[same] > limit).double().mean().item(),
        'recall_at_1_faces': (person[nearest] == person).double().mean().item(),
        'mean_cosine_faces': (restored * clean).sum(1).mean().item()}, abs=1e-5)
    assert model.metric_results['recall_at_1_faces'] > 0.2


@pytest.mark.slow
def test_without_labels_validation_compares_with_clean_images(tmp_path):
    model, data = model_of(tmp_path), photos()
    for item in data.items:
        del item['label']
    model.validation(torch.utils.data.DataLoader(data, 4), 1, None, save_img=False)
    assert list(model.metric_results) == ['mean_cosine_faces']


def test_validation_counts_embeddings_that_are_no_numbers(tmp_path, caplog):
    model, data = model_of(tmp_path, ['recall_at_1', 'mean_cosine']), photos(4)
    network, predict = model.eval_recognizers['faces'], model.eval_recognizers['faces'].predict

    def some(images):
        found = predict(images)['embeddings']
        return {'embeddings': found / torch.where(images.mean((1, 2, 3)) > 0.5, 0.0, 1.0)[:, None]}

    network.predict = some
    clean = torch.stack([item['gt'] for item in data.items])
    expected = int((((clean * 255).round() / 255).mean((1, 2, 3)) > 0.5).sum())
    model.validation(torch.utils.data.DataLoader(data, 4), 1, None, save_img=False)
    said = [record.getMessage() for record in caplog.records if 'not finite' in record.getMessage()]
    assert 0 < expected < 16 and f'for {expected} of 16 clean images, and count as a similarity of 0' in said[-1]
    assert said[-1].startswith('items: the embeddings of faces are zero or not finite')


def test_images_that_leave_no_score_are_told_before_a_run(tmp_path, caplog):
    model = model_of(tmp_path)
    logger = logging.getLogger('identities')
    judges = model.eval_recognizers
    check_classes(photos(), judges.values(), 'val')  # identities need not be classes of the network
    check_judges({}, [photos()], judges, logger)
    assert not caplog.records
    check_judges({}, [photos(count=2)], judges, logger)
    assert [record.getMessage() for record in caplog.records] == [
        'val.recognizers: datasets: items: tar_at_far of faces cannot be computed: the 24 images are of 12 identities, '
        'with 12 pairs of one identity and 264 pairs of two. tar_at_far needs 1000 pairs of two and a pair of one.']
    with pytest.raises(OptionError, match='tar_at_far, recall_at_1 of faces cannot be computed: the 12 images'):
        check_judges({}, [photos(count=1)], judges)
    words = photos()
    for item in words.items:
        item['label'] = 'anna'
    with pytest.raises(OptionError, match=r'faces: expected identities, whole numbers \(1,\), got str'):
        check_judges({}, [words], judges)
    check_judges({'val': {'recognition_metrics': {'embedding': 'mean_cosine'}}}, [words], judges)
