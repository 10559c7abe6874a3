'use strict';
(function () {
  const root = document.documentElement;
  root.classList.add('js');

  // all that is folded is printed
  const folded = [];
  window.addEventListener('beforeprint', function () {
    document.querySelectorAll('details:not([open])').forEach(function (item) { item.open = true; folded.push(item); });
  });
  window.addEventListener('afterprint', function () {
    folded.splice(0).forEach(function (item) { item.open = false; });
  });

  const template = document.getElementById('compare');
  if (!template) return;
  const field = function (name) { return document.getElementById('f-' + name); };
  const status = document.querySelector('.count');
  const more = document.querySelector('.more');
  const page = 6;
  let limit = page;

  function picture(example, processing, view) {
    const figures = Array.from(example.querySelectorAll('.strip figure')).filter(function (figure) {
      return figure.dataset.processing === processing;
    });
    return figures.find(function (figure) { return figure.dataset.view === view; }) ||
      figures.find(function (figure) { return figure.dataset.view === ''; });
  }

  function slide(example) {
    const input = example.querySelector('.stage input');
    const ends = example.querySelectorAll('.ends span');
    example.querySelector('.stage').style.setProperty('--cut', input.value + '%');
    input.setAttribute('aria-valuetext', input.value + ' % ' + ends[0].textContent + ', ' +
      (100 - input.value) + ' % ' + ends[1].textContent);
  }

  const examples = Array.from(document.querySelectorAll('.example')).map(function (example) {
    example.querySelector('.strip').before(template.content.cloneNode(true));
    const input = example.querySelector('.stage input');
    input.setAttribute('aria-label', 'How much of the left image is shown: ' + example.querySelector('.minor').textContent);
    input.addEventListener('input', function () { slide(example); });
    return example;
  });

  function compare(example) {
    const view = field('view').value;
    const chosen = ['left', 'right'].map(function (side) {
      return picture(example, field(side).value, view) || picture(example, example.dataset[side], view);
    });
    const stage = example.querySelector('.stage');
    [['.before', 0], ['.after', 1]].forEach(function (pair) {
      const shown = chosen[pair[1]].querySelector('img');
      const image = stage.querySelector(pair[0]);
      image.src = shown.src;
      image.alt = shown.alt;
      image.classList.toggle('pixels', shown.classList.contains('pixels'));
      stage.style.aspectRatio = shown.getAttribute('width') + ' / ' + shown.getAttribute('height');
      example.querySelectorAll('.ends span')[pair[1]].textContent = chosen[pair[1]].querySelector('figcaption').textContent;
    });
    const columns = chosen.map(function (figure) { return figure.dataset.processing; });
    example.querySelectorAll('.answers [data-processing]').forEach(function (cell) {
      cell.toggleAttribute('data-off', !columns.includes(cell.dataset.processing));
    });
    slide(example);
  }

  function filter() {
    const fitting = examples.filter(function (example) {
      return ['condition', 'kind', 'recognizer'].every(function (name) {
        const value = field(name).value;
        return value === '' || example.dataset[name] === value || (name === 'recognizer' && example.dataset[name] === '');
      });
    });
    examples.forEach(function (example) { example.hidden = fitting.indexOf(example) < 0 || fitting.indexOf(example) >= limit; });
    more.hidden = fitting.length <= limit;
    status.textContent = fitting.length ? Math.min(limit, fitting.length) + ' of ' + fitting.length + ' images shown' :
      'No image fits this choice.';
  }

  // a link from the gallery leads to an image that the filters hide
  function follow() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target || !target.hidden) return;
    ['condition', 'kind', 'recognizer'].forEach(function (name) { field(name).value = ''; });
    limit = examples.length;
    filter();
    target.scrollIntoView();
  }
  window.addEventListener('hashchange', follow);

  document.querySelector('.controls').addEventListener('submit', function (event) { event.preventDefault(); });
  ['condition', 'kind', 'recognizer'].forEach(function (name) {
    field(name).addEventListener('change', function () { limit = page; filter(); });
  });
  more.addEventListener('click', function () {
    const next = examples.filter(function (example) { return example.hidden; })[0];
    limit += 2 * page;
    filter();
    if (more.hidden) next.querySelector('input').focus();  // the button that had the focus is gone
  });
  ['left', 'right', 'view'].forEach(function (name) {
    field(name).addEventListener('change', function () { examples.forEach(compare); });
  });
  examples.forEach(compare);
  filter();
  follow();
})();
