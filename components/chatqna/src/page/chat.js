// Uploads documents and asks about them, by the routes of OPEA's ChatQnA. Nothing is kept but in this tab.
'use strict';

const byId = (id) => document.getElementById(id);
const conversation = byId('conversation');
const HISTORY_MAX = 6; // messages told again with a question: three questions with their answers
let history = [];
let running = null;

function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function headers(more) {
  const key = byId('key').value.trim();
  return key ? { ...more, authorization: `Bearer ${key}` } : more;
}

const collection = () => byId('collection').value.trim();

async function failure(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `${response.status}: ${text.slice(0, 300)}`;
  }
}

// The data of server-sent events, as it comes.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const parts = buffer.split('\n\n');
    buffer = parts.pop();
    for (const part of parts) {
      const data = part.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart());
      if (data.length) yield data.join('\n');
    }
  }
}

// Documents

async function list() {
  const body = collection() ? { index_name: collection() } : {};
  const post = { method: 'POST', headers: headers({ 'content-type': 'application/json' }), body: JSON.stringify(body) };
  const shown = byId('documents');
  try {
    const response = await fetch('/v1/dataprep/get', post);
    if (!response.ok) throw new Error(await failure(response));
    const documents = await response.json();
    shown.replaceChildren(...documents.map(row));
    if (!documents.length) shown.append(element('li', 'No documents yet.'));
  } catch (error) {
    shown.replaceChildren(element('li', error.message, 'bad'));
  }
}

// A document of the list: without a collection asked for, of any.
function row(file) {
  const item = element('li');
  const name = element('span', file.name);
  const asked = collection() || byId('collection').placeholder;
  if (file.index_name !== asked) name.append(element('small', ` in ${file.index_name}`));
  const remove = element('button', '✕');
  remove.type = 'button';
  remove.title = `Delete ${file.name}`;
  remove.addEventListener('click', async () => {
    if (!confirm(`Delete ${file.name} from ${file.index_name}?`)) return;
    remove.disabled = true;
    try {
      await forget(file);
      await list();
    } catch (error) {
      remove.disabled = false;
      name.replaceChildren(`${file.name}: ${error.message}`);
      name.className = 'bad';
    }
  });
  item.append(name, remove);
  return item;
}

async function forget(file) {
  const body = JSON.stringify({ file_path: file.name, index_name: file.index_name });
  const post = { method: 'POST', headers: headers({ 'content-type': 'application/json' }), body };
  const response = await fetch('/v1/dataprep/delete', post);
  if (!response.ok) throw new Error(await failure(response));
}

// How the files of an upload go on: a line for each.
class Uploads {
  constructor(names) {
    this.names = names;
    this.lines = names.map((name) => element('li', `${name}: uploading…`));
    this.at = 0;
    for (const line of byId('uploads').querySelectorAll('.over')) line.remove(); // of uploads before
    byId('uploads').append(...this.lines);
  }

  say(text, at = this.at) {
    this.lines[at].textContent = `${this.names[at]}: ${text}`;
  }

  end(text, isBad, at = this.at) {
    this.say(text, at);
    this.lines[at].className = isBad ? 'over bad' : 'over';
  }

  // What is not over yet ends like this; the others keep what became of them.
  fail(why) {
    this.lines.forEach((line, at) => line.className || this.end(why, true, at));
  }

  // A step, as dataprep tells it: one file after the other, in the order they were sent.
  take(step) {
    if (step.error && !step.event) throw new Error(step.error.message);
    if (step.event === 'started') {
      this.at = step.number - 1;
      this.say('reading…');
    }
    if (step.event === 'parsed') this.say(step.pages ? `${count(step.pages, 'page')} read` : 'read');
    if (step.event === 'embedded') this.say(`${step.chunks} of ${count(step.of, 'passage')}`);
    if (step.event === 'finished') this.end(became(step), Boolean(step.error));
  }
}

function became(file) {
  if (file.error) return file.error.message;
  if (file.status === 'duplicate') return `the same as ${file.same_as}, which is there`;
  return file.status === 'unchanged' ? 'unchanged' : `stored, ${count(file.chunks, 'passage')}`;
}

const count = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;

async function upload(files) {
  if (!files.length) return;
  const named = new Map(files.map((file) => [file.name, file])); // a name names one document
  const form = new FormData();
  for (const [name, file] of named) form.append('files', file, name);
  if (collection()) form.append('index_name', collection());
  const uploads = new Uploads([...named.keys()]);
  try {
    const response = await fetch('/v1/dataprep/ingest', { method: 'POST', headers: headers({ accept: 'text/event-stream' }), body: form });
    if (!response.ok) throw new Error(await failure(response));
    for await (const data of events(response)) {
      const step = JSON.parse(data);
      if (step.files) break; // the end, with what each file was told already
      uploads.take(step);
    }
    uploads.fail('the server broke off: upload it again');
  } catch (error) {
    uploads.fail(error.message);
  }
  list();
}

// Questions

function citations(text) {
  const parts = text.split(/\[(\d+)\]/);
  return parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    const link = element('a', `[${part}]`);
    link.href = '#';
    link.addEventListener('click', (event) => {
      event.preventDefault();
      const source = link.closest('article').querySelector(`details[data-n="${part}"]`);
      if (source) {
        source.open = true;
        source.scrollIntoView({ block: 'nearest' });
      }
    });
    return link;
  });
}

function card(source) {
  const details = element('details');
  details.dataset.n = source.n;
  if (source.cited) details.className = 'cited';
  const page = source.page ? `, page ${source.page}` : '';
  const heading = source.heading?.length ? ` › ${source.heading.join(' › ')}` : '';
  details.append(element('summary', `[${source.n}] ${source.name}${page}${heading} · ${source.score.toFixed(2)}`));
  details.append(element('p', source.text));
  return details;
}

async function ask(question) {
  const article = element('article');
  const answer = element('div', '', 'answer waiting');
  const meta = element('p', '', 'meta');
  const sources = element('div', undefined, 'sources');
  article.append(element('p', question, 'question'), answer, meta, sources);
  conversation.append(article);
  article.scrollIntoView({ block: 'end' });
  const messages = [...history, { role: 'user', content: question }];
  const body = { messages, stream: true, stream_options: { include_usage: true }, ...(collection() && { index_name: collection() }) };
  const began = performance.now();
  let text = '';
  let first = null;
  let isWhole = false;
  let isDeclined = false;
  running = new AbortController();
  try {
    const post = { method: 'POST', headers: headers({ 'content-type': 'application/json' }), body: JSON.stringify(body), signal: running.signal };
    const response = await fetch('/v1/chatqna', post);
    if (!response.ok) throw new Error(await failure(response));
    for await (const data of events(response)) {
      if (data === '[DONE]') {
        isWhole = true;
        break;
      }
      const piece = JSON.parse(data);
      if (piece.error) throw new Error(piece.error.message);
      isDeclined ||= Boolean(piece.declined);
      if (piece.sources) sources.replaceChildren(...piece.sources.map(card));
      const added = piece.choices[0]?.delta?.content;
      if (added) {
        first ??= performance.now() - began;
        text += added;
        answer.replaceChildren(...citations(text));
        answer.scrollIntoView({ block: 'nearest' });
      }
      if (piece.usage) meta.textContent = cost(piece.usage, first, performance.now() - began);
    }
    if (!isWhole) throw new Error('the answer broke off');
    // What has no answer helps no later question.
    if (!isDeclined) history = [...messages, { role: 'assistant', content: text }].slice(-HISTORY_MAX);
  } catch (error) {
    const why = error.name === 'AbortError' ? 'stopped' : error.message;
    article.append(element('p', why, 'meta bad'));
  }
  answer.classList.remove('waiting');
  answer.hidden = !text;
  article.scrollIntoView({ block: 'nearest' });
  running = null;
}

function cost(usage, first, total) {
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  return `${usage.prompt_tokens} + ${usage.completion_tokens} tokens · first after ${seconds(first ?? total)} · ${seconds(total)}`;
}

byId('ask').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = byId('question');
  const question = field.value.trim();
  if (!question || running) return;
  field.value = '';
  byId('send').disabled = true;
  byId('stop').hidden = false;
  await ask(question);
  byId('send').disabled = false;
  byId('stop').hidden = true;
  field.focus();
});
byId('question').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    byId('ask').requestSubmit();
  }
});
byId('stop').addEventListener('click', () => running?.abort());
byId('reset').addEventListener('click', () => {
  running?.abort();
  history = [];
  conversation.replaceChildren(element('p', 'A new conversation.', 'hint'));
});
byId('files').addEventListener('change', (event) => {
  upload([...event.target.files]);
  event.target.value = '';
});
const drop = byId('drop');
drop.addEventListener('dragover', (event) => {
  event.preventDefault();
  drop.classList.add('over');
});
drop.addEventListener('dragleave', () => drop.classList.remove('over'));
drop.addEventListener('drop', (event) => {
  event.preventDefault();
  drop.classList.remove('over');
  upload([...event.dataTransfer.files]);
});
byId('collection').addEventListener('change', list);
byId('key').addEventListener('change', list);
list();
