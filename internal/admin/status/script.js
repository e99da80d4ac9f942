'use strict';
// Keeps the page fresh: fetches it again and takes over what has changed, so
// that focus, scrolling, selection and the filter stay as they are.
(() => {
  const pause = 3000; // ms between two fetches
  const byId = (id) => document.getElementById(id);
  let timer = 0, asking = null, stopped = false;

  // Times in the reader's own time zone, those of today without the day.
  function localise(root) {
    const today = new Date().toDateString();
    for (const time of root.querySelectorAll('time')) {
      const at = new Date(time.dateTime);
      const day = at.toDateString() === today ? '' : at.toLocaleDateString([], {day: 'numeric', month: 'short'}) + ' ';
      time.title = time.textContent;
      time.textContent = day + at.toLocaleTimeString([], {hour12: false});
    }
  }

  // What only works with this script.
  function reveal() {
    byId('pause').hidden = false;
    if (byId('apply')) byId('apply').hidden = true;
    for (const button of document.querySelectorAll('.copy')) button.hidden = false;
    if (byId('body')) byId('body').hidden = false;
  }

  // Rows have ids, and those that stay keep their order.
  function mergeRows(now, next) {
    const old = new Map(Array.from(now.children, (row) => [row.id, row]));
    let at = now.firstElementChild;
    for (const row of Array.from(next.children)) {
      const same = old.get(row.id);
      if (same && same.isEqualNode(row)) {
        while (at !== same) at = remove(at);
        at = at.nextElementSibling;
      } else {
        now.insertBefore(row, at);
      }
    }
    while (at) at = remove(at);
  }

  function remove(row) {
    const next = row.nextElementSibling;
    row.remove();
    return next;
  }

  function merge(fresh) {
    localise(fresh);
    const parts = Array.from(fresh.querySelectorAll('[data-live]'));
    if (parts.some((part) => !byId(part.id))) { // another version, or other integrations
      location.reload();
      return;
    }
    for (const next of parts) {
      const now = byId(next.id);
      for (const {id} of now.querySelectorAll('details[open]')) { // a question that is being answered
        const same = next.querySelector('#' + CSS.escape(id));
        if (same) same.open = true;
      }
      if (now.isEqualNode(next)) continue;
      if (next.dataset.live === 'rows') {
        mergeRows(now, next);
      } else if (next.dataset.live !== 'choices' || now !== document.activeElement) {
        const value = now.value, focused = now.contains(document.activeElement) && document.activeElement.id;
        now.replaceChildren(...next.childNodes);
        now.className = next.className;
        if (value !== undefined) now.value = value;
        if (focused && byId(focused)) byId(focused).focus({preventScroll: true});
      }
    }
  }

  async function refresh() {
    clearTimeout(timer);
    if (asking) asking.abort();
    const mine = asking = new AbortController();
    const limit = setTimeout(() => mine.abort(), 10000);
    try {
      const answer = await fetch(location.pathname + location.search, {cache: 'no-store', signal: mine.signal});
      if (answer.status === 401 || answer.status === 404 && byId('delivery')) return location.reload(); // asks to log in, or tells that it is gone
      if (!answer.ok && answer.status !== 404) throw new Error(answer.status);
      const text = await answer.text();
      if (asking !== mine) return;
      merge(new DOMParser().parseFromString(text, 'text/html'));
      byId('trouble').textContent = '';
    } catch {
      if (asking !== mine) return;
      byId('trouble').textContent = 'There is no answer: what is shown is old.';
    } finally {
      clearTimeout(limit);
    }
    asking = null;
    schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (!stopped && !document.hidden) timer = setTimeout(refresh, pause);
  }

  let typing = 0;
  function applyFilter() {
    clearTimeout(typing);
    const query = new URLSearchParams(new FormData(byId('filter')));
    for (const [name, value] of Array.from(query)) if (!value) query.delete(name);
    history.replaceState(null, '', location.pathname + (query.size ? '?' + query : ''));
    refresh();
  }

  async function copy(button) {
    const source = byId(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    } catch { // not over plain HTTP from afar: leave it to the reader
      getSelection().selectAllChildren(source);
    }
  }

  function clearFilter() {
    for (const field of byId('filter').elements) {
      if (field.type === 'radio') field.checked = !field.value; else if (field.name) field.value = '';
    }
    applyFilter();
    byId('q').focus();
  }

  // The body of a delivery, once somebody wants to see it.
  async function showBody(details) {
    const most = 256 * 1024, place = byId('body-text');
    try {
      const answer = await fetch(details.dataset.body, {cache: 'no-store'});
      const envelope = await answer.json();
      if (!answer.ok) throw new Error(envelope.error);
      let text = envelope.body;
      if (typeof text !== 'string') text = JSON.stringify(text);
      if (text.length <= most) {
        try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is shown as it is */ }
      }
      place.textContent = text.length > most ? text.slice(0, most) + '\n… and more, see the envelope' : text;
      details.dataset.body = '';
    } catch (problem) {
      place.textContent = 'It cannot be read: ' + problem.message;
    }
  }

  document.addEventListener('toggle', (event) => {
    if (event.target.id === 'body' && event.target.open && event.target.dataset.body) showBody(event.target);
  }, true);
  document.addEventListener('change', (event) => { if (event.target.closest('#filter')) applyFilter(); });
  document.addEventListener('input', (event) => {
    if (event.target.id !== 'q') return;
    clearTimeout(typing);
    typing = setTimeout(applyFilter, 300);
  });
  document.addEventListener('submit', (event) => {
    if (event.target.id !== 'filter') return;
    event.preventDefault();
    applyFilter();
  });
  document.addEventListener('click', (event) => {
    if (event.target.id === 'clear') {
      event.preventDefault();
      clearFilter();
      return;
    }
    const button = event.target.closest('button');
    if (button && button.dataset.copy) copy(button);
    if (button && button.id === 'pause') {
      stopped = !stopped;
      button.setAttribute('aria-pressed', String(stopped));
      if (stopped) clearTimeout(timer); else refresh();
    }
  });
  document.addEventListener('visibilitychange', () => { if (document.hidden || stopped) clearTimeout(timer); else refresh(); });

  localise(document);
  reveal();
  schedule();
})();
