'use strict';
// Lists what /openapi.json describes, and tries calls. All that comes from components is put in as text.

const byId = (id) => document.getElementById(id);

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function headers() {
  const key = byId('key').value.trim();
  return key ? { authorization: `Bearer ${key}` } : {};
}

// An example of what a schema takes.
function example(schema, all, depth = 0) {
  if (!schema || depth > 8) return null;
  if (schema.$ref) return example(all[schema.$ref.split('/').pop()], all, depth + 1);
  const one = (schema.oneOf || schema.anyOf || [])[0];
  if (one) return example(one, all, depth + 1);
  if ('const' in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  switch (schema.type) {
    case 'object': {
      const made = {};
      for (const name of schema.required || []) made[name] = example(schema.properties[name], all, depth + 1);
      return made;
    }
    case 'array': return (schema.prefixItems || []).map((item) => example(item, all, depth + 1));
    case 'string': return schema.minLength ? 'a' : '';
    case 'integer':
    case 'number': return 0;
    case 'boolean': return false;
    default: return null;
  }
}

async function call(path, body, out) {
  out.textContent = '…';
  try {
    const answer = await fetch(path, {
      method: 'POST', headers: { 'content-type': 'application/json', ...headers() }, body,
    });
    out.textContent = `${answer.status}\n`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      out.textContent += value;
    }
  } catch (error) {
    out.textContent += `\n${error}`;
  }
}

function show(path, method, operation, description, parent) {
  const details = element('details', '', parent);
  const summary = element('summary', '', details);
  element('span', method, summary).className = 'method';
  element('code', path, summary);
  element('span', ` ${operation.summary || ''}`, summary);
  if (operation.description) element('p', operation.description, details).className = 'docs';
  const schemas = description.components.schemas;
  const takes = operation.requestBody?.content?.['application/json']?.schema;
  if (!takes) return;
  const answers = operation.responses['200']?.content || {};
  const gives = answers['application/json']?.schema || answers['text/event-stream']?.['x-item-schema'];
  element('div', 'Takes', details);
  element('pre', JSON.stringify(takes, null, 2), details);
  element('div', answers['text/event-stream'] ? 'Streams' : 'Answers', details);
  element('pre', JSON.stringify(gives, null, 2), details);
  const text = element('textarea', '', details);
  text.value = JSON.stringify(example(takes, schemas), null, 2);
  const button = element('button', 'Call', details);
  const out = element('pre', '', details);
  button.addEventListener('click', () => call(path, text.value, out));
}

async function load() {
  const all = byId('all');
  all.replaceChildren();
  byId('state').textContent = '…';
  const answer = await fetch('/openapi.json', { headers: headers() });
  const description = await answer.json();
  if (!answer.ok) {
    byId('state').textContent = description.error?.message || answer.status;
    return;
  }
  byId('state').textContent = '';
  const sections = new Map();
  for (const tag of description.tags) {
    element('h2', tag.name, all);
    element('p', tag.description, all);
    sections.set(tag.name, element('section', '', all));
  }
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const section = sections.get(operation.tags?.[0]);
      if (section) show(path, method, operation, description, section);
    }
  }
  if (description['x-unexposed']) {
    element('h2', 'Not served', all);
    for (const { path, reason } of description['x-unexposed']) element('p', `${path}: ${reason}`, all);
  }
}

byId('load').addEventListener('click', load);
load();
