// The panel beside the picture: its tabs, the switches of this browser, and the keys.
import { byId, load, save } from "../common/dom.js";

export const SWITCHES = ["flip", "square", "fill", "show-camera", "show-hud"];

export function setUpTabs() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const select = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.stopPropagation();
      const next = tabs[(index + by + tabs.length) % tabs.length];
      select(next);
      next.focus();
    });
  }
}

export function showPanel(on) {
  document.body.classList.toggle("no-panel", !on);
  byId("toggle").setAttribute("aria-expanded", on);
}

export const togglePanel = () => showPanel(document.body.classList.contains("no-panel"));

// Switches keep their position in this browser; onchange(name, on) is also called once for each now.
export function bindSwitches(onchange) {
  for (const name of SWITCHES) {
    const box = byId(name);
    box.checked = load(name, box.checked);
    box.addEventListener("change", () => {
      save(name, box.checked);
      onchange(name, box.checked);
    });
    onchange(name, box.checked);
  }
}

export function flick(name) {
  const box = byId(name);
  box.checked = !box.checked;
  box.dispatchEvent(new Event("change"));
}

// keys: {"f": work, " ": work}; not while text is typed, and never with Ctrl, Alt or Meta.
export function bindKeys(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    const { target } = event;
    if (target.matches?.("textarea, select, input:not([type=checkbox])")) return;
    if (event.key === " " && target.matches?.("button, input, [role=tab]")) return;
    const work = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!work) return;
    event.preventDefault();
    work();
  });
}
