// What may follow at the cursor of a prompt box: LoRAs after "<", embeddings and the user's own words after two letters.
// The focus stays in the text, which says what is pointed at (aria-activedescendant); Tab or Enter takes it.
import { make } from "../common/dom.js";

const MOST = 8;
const LEAST = 2; // letters of a name

// The piece of a name before the cursor, {from, text, isTag}, or null.
export function pieceAt(value, at) {
  const tag = /<(?:l(?:o(?:r(?:a(?::([^<>:]*))?)?)?)?)?$/.exec(value.slice(0, at));
  if (tag) return { from: tag.index, text: tag[1] ?? "", isTag: true };
  if (/<[^<>]*$/.test(value.slice(0, at))) return null; // in the rest of a tag
  const word = /[^\s,()[\]<>:|]+$/.exec(value.slice(0, at));
  return word && word[0].length >= LEAST ? { from: word.index, text: word[0], isTag: false } : null;
}

export class PromptCompletion {
  // find(piece): [{text, label}] that fit it, text is what is inserted.
  constructor(box, find) {
    Object.assign(this, { box, find, choices: [], at: 0 });
    this.list = make("ul", { class: "completion", role: "listbox", id: `${box.id}-completion`, "aria-label": "Names that fit", hidden: true });
    box.after(this.list);
    for (const [name, value] of [["aria-autocomplete", "list"], ["aria-haspopup", "listbox"], ["aria-controls", this.list.id]]) box.setAttribute(name, value);
    box.addEventListener("input", (event) => (event.inputType ? this.#look() : this.close()));
    box.addEventListener("blur", () => this.close());
    box.addEventListener("click", () => this.close());
    box.addEventListener("keydown", (event) => this.#key(event), true);
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the text keeps the focus
      const index = [...this.list.children].indexOf(event.target.closest("li"));
      if (index >= 0) this.#take(index);
    });
  }

  #look() {
    const { selectionStart, selectionEnd, value } = this.box;
    this.piece = selectionStart === selectionEnd ? pieceAt(value, selectionStart) : null;
    this.choices = this.piece === null ? [] : this.find(this.piece).slice(0, MOST);
    if (this.choices.length === 0) return this.close();
    this.list.replaceChildren(...this.choices.map(({ label }, index) => make("li", { role: "option", id: `${this.list.id}-${index}`, text: label })));
    this.list.hidden = false;
    return this.#point(0);
  }

  #point(index) {
    this.at = (index + this.choices.length) % this.choices.length;
    [...this.list.children].forEach((row, own) => row.setAttribute("aria-selected", own === this.at));
    this.box.setAttribute("aria-activedescendant", this.list.children[this.at].id);
  }

  close() {
    this.list.hidden = true;
    this.choices = [];
    this.box.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    if (this.choices.length === 0 || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const acts = { ArrowDown: () => this.#point(this.at + 1), ArrowUp: () => this.#point(this.at - 1), Tab: () => this.#take(this.at), Enter: () => this.#take(this.at), Escape: () => this.close() };
    const act = event.shiftKey ? undefined : acts[event.key];
    if (act === undefined) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    act();
  }

  // As if it had been typed, so that Ctrl+Z undoes it.
  #take(index) {
    const { text } = this.choices[index];
    this.close();
    this.box.setSelectionRange(this.piece.from, this.box.selectionStart);
    if (!document.execCommand("insertText", false, text)) this.box.setRangeText(text, this.piece.from, this.box.selectionEnd, "end");
    this.close();
    this.box.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
