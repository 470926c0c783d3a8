// What a prompt box does beyond typing: weights by keys, items moved, tokens counted.
import { countTokens } from "./api.js";

const WAIT = 250; // ms after the last key before tokens are counted

// The word or bracket group around the selection, without spaces at its ends.
function around(box) {
  let { selectionStart: from, selectionEnd: to, value } = box;
  if (from === to) {
    while (from > 0 && !/[\s,()[\]]/.test(value[from - 1])) from--;
    while (to < value.length && !/[\s,()[\]]/.test(value[to])) to++;
  }
  while (from < to && /\s/.test(value[from])) from++;
  while (to > from && /\s/.test(value[to - 1])) to--;
  return [from, to];
}

// Replaces text so that Ctrl+Z undoes it.
function replace(box, from, to, text, selectFrom, selectTo) {
  box.focus();
  box.setSelectionRange(from, to);
  if (!document.execCommand("insertText", false, text)) box.setRangeText(text, from, to);
  box.setSelectionRange(selectFrom, selectTo);
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

export function changeWeight(box, by) {
  const [from, to] = around(box);
  if (from === to) return;
  const { value } = box;
  const inner = value.slice(from, to);
  const after = /^:(-?[\d.]+)\)/.exec(value.slice(to));
  const isGroup = value[from - 1] === "(" && after !== null;
  const weight = Math.round(((isGroup ? Number(after[1]) : 1) + by) * 100) / 100;
  const start = isGroup ? from - 1 : from;
  const end = isGroup ? to + after[0].length : to;
  if (weight === 1) replace(box, start, end, inner, start, start + inner.length);
  else replace(box, start, end, `(${inner}:${weight})`, start + 1, start + 1 + inner.length);
}

// Swaps the comma-separated item at the cursor with its neighbour.
export function moveItem(box, by) {
  const items = box.value.split(",");
  let index = 0;
  for (let at = items[0].length; at < box.selectionStart && index < items.length - 1; at += items[index].length + 1) index++;
  const other = index + by;
  if (other < 0 || other >= items.length) return;
  const texts = items.map((item) => item.trim());
  [texts[index], texts[other]] = [texts[other], texts[index]];
  const text = texts.join(", ");
  const start = texts.slice(0, other).join(", ").length + (other > 0 ? 2 : 0);
  replace(box, 0, box.value.length, text, start, start + texts[other].length);
}

// onPaste(text): what was pasted; true when it was something else than a prompt.
export function bindPrompt(box, output, onChange, onPaste = () => false) {
  let timer = 0;
  let asked = null;
  const count = async () => {
    asked?.abort();
    asked = new AbortController();
    try {
      const { count: tokens, chunks } = await countTokens(box.value, asked);
      output.value = `${tokens} / ${chunks * 75}`;
      output.classList.toggle("over", chunks > 1);
    } catch (error) {
      if (error.name !== "AbortError") output.value = "";
    }
  };
  const recount = () => {
    clearTimeout(timer);
    timer = setTimeout(count, WAIT);
  };
  box.addEventListener("input", () => {
    recount();
    onChange();
  });
  box.addEventListener("paste", (event) => onPaste(event.clipboardData.getData("text/plain")) && event.preventDefault());
  box.addEventListener("keydown", (event) => {
    const up = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const side = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.ctrlKey && up) changeWeight(box, up * (event.shiftKey ? 0.05 : 0.1));
    else if (event.altKey && side) moveItem(box, side);
    else return;
    event.preventDefault();
  });
  return recount;
}

// Appends a tag or text to a prompt, or takes it out when it is there already.
export function toggleInPrompt(box, text) {
  const parts = box.value.split(text);
  if (parts.length > 1) box.value = parts.join("").replace(/\s*,\s*(,|$)/g, "$1").trim();
  else box.value = box.value.trim() === "" ? text : `${box.value.trim()}, ${text}`;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}
