// What a LoRA's file says of its training, and what this user wants with it: the weight and the words that come along.
import { make } from "../common/dom.js";
import { lists } from "./api.js";

const MOST_WORDS = 24;

// The captions' tags of kohya's trainer, most frequent first.
export function trainedWords(metadata) {
  const counts = new Map();
  for (const folder of Object.values(metadata?.ss_tag_frequency ?? {}))
    for (const [word, count] of Object.entries(folder ?? {})) counts.set(word.trim(), (counts.get(word.trim()) ?? 0) + Number(count));
  return [...counts].filter(([word, count]) => word !== "" && count > 0).sort((a, b) => b[1] - a[1]).slice(0, MOST_WORDS).map(([word]) => word);
}

function facts(metadata) {
  const rows = [["Made for", metadata.ss_base_model_version ?? metadata["modelspec.architecture"]], ["Trained on", metadata.ss_sd_model_name], ["Rank", metadata.ss_network_dim],
    ["Title", metadata["modelspec.title"]], ["By", metadata["modelspec.author"]], ["Says", metadata["modelspec.description"]]];
  return rows.filter(([, value]) => typeof value === "string" || typeof value === "number").flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: String(value) })]);
}

// own: {weight, words} or undefined; onWord(word); onKeep({weight, words}) when it is closed with changes.
export async function openNetworkSheet(card, { own, onWord, onKeep, tell }) {
  const dialog = make("dialog", { class: "sheet network-sheet", "aria-labelledby": "network-title" });
  const weight = make("input", { type: "number", id: "network-weight", min: -4, max: 4, step: 0.05, value: own?.weight ?? "", placeholder: "as set in the panel" });
  const words = make("input", { type: "text", id: "network-words", value: own?.words ?? "", placeholder: "words that call it", spellcheck: "false" });
  const field = (label, input) => make("div", { class: "field" }, make("label", { for: input.id, text: label }), input);
  const about = make("dl", {});
  const chips = make("div", { class: "row words" });
  dialog.append(make("h2", { id: "network-title", text: card.name }), make("div", { class: "group" }, field("Its weight", weight), field("Words added with it", words)), about, chips,
    make("div", { class: "row" }, make("button", { type: "button", class: "primary", text: "Close", onclick: () => dialog.close() })));
  dialog.addEventListener("close", () => {
    dialog.remove();
    const now = { ...(weight.value === "" ? {} : { weight: Number(weight.value) }), ...(words.value.trim() === "" ? {} : { words: words.value.trim() }) };
    if (JSON.stringify(now) !== JSON.stringify(own ?? {})) onKeep(now);
  });
  document.body.append(dialog);
  dialog.showModal();
  try {
    const file = (await lists.loras()).find(({ name }) => name === card.name);
    const metadata = file?.metadata ?? {};
    about.append(...facts(metadata));
    const trained = trainedWords(metadata);
    chips.append(make("span", { class: "unit", text: trained.length ? "Trained with (a click adds it to the prompt):" : "The file does not say what words it was trained with." }),
      ...trained.map((word) => make("button", { type: "button", class: "quiet", text: word, onclick: () => onWord(word) })));
  } catch (error) {
    tell(error.message);
  }
}
