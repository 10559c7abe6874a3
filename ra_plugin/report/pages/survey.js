
'use strict';
{
  const CHOICES = ['A', 'B', 'both', 'neither'];
  const element = id => document.getElementById(id);
  const form = element('survey');
  const steps = [...form.querySelectorAll('.step')];
  const questions = steps.filter(step => step.classList.contains('question')).map(step => step.id);
  const store = 'survey ' + form.dataset.page;
  let current = 0;

  const answers = () => Object.fromEntries(
    questions.filter(id => form.elements[id].value).map(id => [id, form.elements[id].value]));
  const unanswered = () => questions.filter(id => !form.elements[id].value);
  const validId = id => typeof id === 'string' && /^[A-Za-z0-9_-]{1,40}$/.test(id);

  function drawnId() {
    return [...crypto.getRandomValues(new Uint8Array(8))].map(byte => byte.toString(16).padStart(2, '0')).join('');
  }

  function keep() {
    const state = {respondent: element('respondent').value, answers: answers(), at: Date.now()};
    history.replaceState(state, '');  // for this tab: Chromium may give a reloaded file an empty storage
    try {
      localStorage.setItem(store, JSON.stringify(state));
    } catch {  // refused by the browser, or full
      element('unkept').hidden = false;
    }
  }

  function recall() {
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(store)) || {};
    } catch {
      // nothing kept, or not by this page: begin again
    }
    if (history.state && !(kept.at > history.state.at)) kept = history.state;
    for (const id of questions) form.elements[id].value = (kept.answers || {})[id];  // what is no choice checks none
    element('respondent').value = validId(kept.respondent) ? kept.respondent : drawnId();
  }

  function count() {
    const left = unanswered();
    const done = questions.length - left.length;
    element('progress').textContent = `${done} of ${questions.length} answered`;
    element('bar').value = done;
    element('missing').textContent = left.length
      ? `Not answered yet: ${left.length}. The file can be saved once all questions are answered.`
      : 'All questions are answered. Save the file and send it to the person who gave you this page.';
    element('open').replaceChildren(...left.map(id => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = id.slice(1);
      button.setAttribute('aria-label', 'Go to question ' + id.slice(1));
      button.addEventListener('click', () => show(questions.indexOf(id)));
      return button;
    }));
    element('save').disabled = left.length > 0;
  }

  function show(index, focus = true) {
    current = index;
    steps.forEach((step, i) => { step.hidden = i !== index; });
    element('back').disabled = index === 0;
    element('next').hidden = index === steps.length - 1;
    element('intro').hidden = index > 0;  // room on a phone
    if (!focus) return;
    const first = 'button:enabled, input[type=radio]';
    (steps[index].querySelector(':checked') || steps[index].querySelector(first)).focus({preventScroll: true});
    scrollTo(0, 0);
  }

  function save() {
    const respondent = element('respondent').value.trim();
    if (!validId(respondent)) {
      element('saved').textContent = 'The id may have 1 to 40 letters, digits, - and _. Nothing was saved.';
      element('respondent').focus();
      return;
    }
    const text = JSON.stringify({page: form.dataset.page, respondent, answers: answers()}, null, 1);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
    link.download = `answers_${form.dataset.page}_${respondent}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    element('saved').textContent = `Saved as ${link.download}, where your browser puts downloads.`;
  }

  form.addEventListener('change', () => { keep(); count(); });
  form.addEventListener('submit', event => {
    event.preventDefault();
    if (current < steps.length - 1) show(current + 1);
    else if (!element('save').disabled) save();
  });
  form.addEventListener('keydown', event => {  // only while a choice has the focus, so no key is taken elsewhere
    const value = CHOICES[Number(event.key) - 1];
    if (!value || event.target.type !== 'radio' || event.ctrlKey || event.altKey || event.metaKey) return;
    const choice = [...form.elements[event.target.name]].find(radio => radio.value === value);
    choice.focus();
    choice.click();
  });
  element('back').addEventListener('click', () => show(current - 1));
  element('save').addEventListener('click', save);

  recall();
  keep();
  count();
  show(unanswered().length ? questions.indexOf(unanswered()[0]) : steps.length - 1, false);
}
