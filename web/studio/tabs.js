// The four ways to make a picture. Two tabs share one page: text and image differ in a panel and some fields.
import { byId } from "../common/dom.js";

export function setUpTabs(onSelect) {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const select = (name) => {
    const chosen = byId(`tab-${name}`);
    const page = chosen.getAttribute("aria-controls");
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = tab.getAttribute("aria-controls") !== page;
    }
    onSelect(name);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab.id.slice("tab-".length)));
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = tabs[(index + by + tabs.length) % tabs.length];
      select(next.id.slice("tab-".length));
      next.focus();
    });
  }
  return { select };
}
