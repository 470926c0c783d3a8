// Small helpers for pages without a framework.

export const byId = (id) => document.getElementById(id);

// Makes an element: make("button", {type: "button", class: "small", text: "Go"}, child...).
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// Other options for a menu, which keeps what is chosen as long as that is among them.
export function fillMenu(menu, pairs) {
  const chosen = menu.value;
  menu.replaceChildren(...pairs.map(([value, text]) => make("option", { value, text })));
  if (pairs.some(([value]) => String(value) === chosen)) menu.value = chosen;
}

// Calls `work` at most once in `interval` ms, always with the newest arguments, the last call never lost.
export function throttle(work, interval) {
  let timer = 0;
  let last = -Infinity;
  let waiting = null;
  const fire = () => {
    timer = 0;
    last = performance.now();
    const args = waiting;
    waiting = null;
    work(...args);
  };
  return (...args) => {
    waiting = args;
    if (timer) return;
    const wait = last + interval - performance.now();
    if (wait <= 0) fire();
    else timer = setTimeout(fire, wait);
  };
}

// Settings that belong to this browser, not to the server. Storage may be denied: then nothing is kept.
export function load(key, otherwise) {
  try {
    const text = localStorage.getItem(`reverie.${key}`);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

export function save(key, value) {
  try {
    localStorage.setItem(`reverie.${key}`, JSON.stringify(value));
  } catch {
    // Private windows refuse storage; the page works without.
  }
}
