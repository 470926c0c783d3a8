// On phones one part of the page is seen at a time, chosen at the bottom; elsewhere all are, and nothing here matters.
import { byId } from "../common/dom.js";

const buttons = () => [...document.querySelectorAll("#views button")];

export function show(view) {
  document.body.dataset.view = view;
  for (const button of buttons()) button.setAttribute("aria-current", button.dataset.to === view);
}

export function setUpViews() {
  for (const button of buttons()) button.addEventListener("click", () => show(button.dataset.to));
  byId("more").addEventListener("click", () => {
    const isOpen = byId("bar").classList.toggle("open");
    byId("more").setAttribute("aria-expanded", isOpen);
  });
  show("controls");
}
