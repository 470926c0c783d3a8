// The page's keys, and the sheet that lists them.
import { byId, make } from "../common/dom.js";

const SHEET = [
  ["Drawing", [["Ctrl+Enter", "draw"], ["Esc", "stop, keep what is drawn"], ["Alt+Enter", "skip to the next batch"]]],
  ["Prompt", [["Ctrl+↑ ↓", "weight of the word or selection (Shift: finer)"], ["Alt+← →", "move the item between commas"], ["Tab, Enter", "take the name offered"], ["P", "to the prompt"]]],
  ["Page", [["Alt+1 … 4", "Text, Image, Upscale, PNG info"], ["/", "search the history"], ["T", "light or dark"], ["?", "this sheet"]]],
  ["Mask", [["← → ↑ ↓", "move the brush (Shift: far)"], ["Space", "paint"], ["E", "brush or eraser"], ["C", "mask or colours"], ["[ ]", "brush size"], ["Ctrl+Z Y", "undo, redo"], ["+ − 0", "zoom, whole picture"], ["Shift+drag", "move about (or with two fingers)"]]],
  ["History", [["← → ↑ ↓", "from picture to picture"], ["Enter", "full screen"]]],
  ["Full screen", [["← →", "before, next"], ["F", "favourite"], ["Delete", "into the trash"], ["S", "save the file"], ["I", "settings on or off"], ["Z", "fit or true size"], ["Esc", "close"]]],
];
const TABS = ["txt2img", "img2img", "extras", "pnginfo"];

function fillSheet(sheet) {
  const row = ([key, text]) => [make("dt", {}, make("kbd", { text: key })), make("dd", { text })];
  sheet.append(make("h2", { id: "help-title", text: "Keys" }),
    make("div", { class: "columns" }, ...SHEET.map(([title, rows]) => make("section", {}, make("h3", { text: title }), make("dl", {}, ...rows.flatMap(row))))),
    make("button", { type: "button", text: "Close", onclick: () => sheet.close() }));
}

// acts: {draw, stop, skip, tab(name), theme}.
export function setUpKeys(acts) {
  const sheet = byId("help-sheet");
  fillSheet(sheet);
  const help = () => !sheet.open && sheet.showModal();
  byId("help").addEventListener("click", help);
  const plain = { "?": help, "/": () => byId("gallery-search").focus(), p: () => byId("prompt").focus(), t: acts.theme };
  addEventListener("keydown", (event) => {
    const isWriting = event.target.closest("input:not([type=range], [type=checkbox]), textarea, select") !== null;
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") acts.draw();
    else if (event.altKey && event.key === "Enter") acts.skip();
    else if (event.altKey && TABS[Number(event.key) - 1]) acts.tab(TABS[Number(event.key) - 1]);
    else if (event.key === "Escape" && event.target.type !== "search") acts.stop();
    else if (!isWriting && !event.ctrlKey && !event.metaKey && !event.altKey && plain[event.key.toLowerCase()]) plain[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
  });
}
