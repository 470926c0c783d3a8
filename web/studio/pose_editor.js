// A figure of OpenPose's 18 points to drag about; the result is the coloured map that openpose models are steered by.
import { make } from "../common/dom.js";

const SIZE = 512; // of the square in which the figure below stands; a map's shorter side
// Nose, neck, right shoulder elbow wrist, left the same, right hip knee ankle, left the same, eyes and ears (right first).
const STANDING = [[256, 90], [256, 150], [206, 150], [186, 225], [176, 295], [306, 150], [326, 225], [336, 295], [226, 290], [222, 380], [220, 465],
  [286, 290], [290, 380], [292, 465], [244, 78], [268, 78], [230, 86], [282, 86]];
const LIMBS = [[1, 2], [1, 5], [2, 3], [3, 4], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10], [1, 11], [11, 12], [12, 13], [1, 0], [0, 14], [14, 16], [0, 15], [15, 17]];
const colour = (index) => `hsl(${Math.round((index * 360) / 18)} 100% 50%)`;
const NAMES = ["nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "right hip", "right knee",
  "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear"];

export class PoseEditor {
  // shape: {width, height} of the picture to be drawn, whose ratio the map has. people: points as they were left, from 0 to
  // 1 across and down, or null. onDone(url, people).
  constructor({ shape, people, onDone }) {
    const scale = SIZE / Math.min(shape.width, shape.height);
    [this.width, this.height] = [Math.round(shape.width * scale), Math.round(shape.height * scale)];
    this.people = people?.map((person) => person.map((point) => point && [point[0] * this.width, point[1] * this.height])) ?? [this.#standing()];
    this.chosen = null;
    this.canvas = make("canvas", { width: this.width, height: this.height, class: "pose", tabindex: 0, role: "application",
      "aria-label": "Pose: drag the points; Tab chooses one, arrow keys move it, Delete hides it" });
    this.file = make("input", { type: "file", accept: ".json,application/json", hidden: true, "aria-label": "Keypoints as JSON" });
    this.file.addEventListener("change", () => this.#openJson(this.file.files[0]));
    this.status = make("span", { class: "unit", role: "status" });
    const button = (text, onclick, kind) => make("button", { type: "button", class: kind, text, onclick });
    this.hide = button("Hide the point", () => this.#hideChosen());
    this.dialog = make("dialog", { class: "pose-dialog", "aria-label": "Pose editor" }, this.canvas, this.status, make("div", { class: "row" },
      button("Use this pose", () => {
        onDone(this.toUrl(), this.people.map((person) => person.map((point) => point && [point[0] / this.width, point[1] / this.height])));
        this.dialog.close();
      }, "primary"),
      button("Add a person", () => this.#add()), this.hide, button("Start again", () => this.#reset()),
      button("Open JSON…", () => this.file.click(), "quiet"), button("Save JSON", () => this.#saveJson(), "quiet"), this.file, button("Cancel", () => this.dialog.close(), "quiet")));
    this.dialog.addEventListener("close", () => this.dialog.remove());
    this.#bind();
  }

  open() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.#draw();
  }

  // In the middle of the map, as large as fits.
  #standing() {
    const scale = Math.min(this.width / 300, this.height / SIZE);
    return STANDING.map(([x, y]) => [this.width / 2 + (x - SIZE / 2) * scale, this.height / 2 + (y - SIZE / 2) * scale]);
  }

  #reset() {
    this.people = [this.#standing()];
    this.chosen = null;
    this.#draw();
  }

  #add() {
    const by = 60 * this.people.length;
    this.people.push(this.#standing().map(([x, y]) => [Math.min(this.width - 4, x + by), y]));
    this.#draw();
  }

  // OpenPose's JSON: x, y and how sure it is of each point, one list a person.
  async #openJson(file) {
    try {
      const { people, canvas_width: width = this.width, canvas_height: height = this.height } = [JSON.parse(await file.text())].flat()[0];
      if (people.some(({ pose_keypoints_2d: numbers }) => numbers.length !== 3 * NAMES.length)) throw new Error("other points");
      this.people = people.map(({ pose_keypoints_2d: numbers }) => NAMES.map((_, index) => {
        const [x, y, sure] = numbers.slice(3 * index, 3 * index + 3).map(Number);
        return sure > 0 ? [(x * this.width) / width, (y * this.height) / height] : null;
      }));
      this.chosen = null;
      this.#draw();
    } catch {
      this.status.textContent = "This file holds no 18 keypoints of OpenPose.";
    }
    this.file.value = "";
  }

  #saveJson() {
    const people = this.people.map((person) => ({ pose_keypoints_2d: person.flatMap((point) => (point === null ? [0, 0, 0] : [...point.map(Math.round), 1])) }));
    const blob = new Blob([JSON.stringify({ people, canvas_width: this.width, canvas_height: this.height })], { type: "application/json" });
    const link = make("a", { href: URL.createObjectURL(blob), download: "pose.json" });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * this.width) / box.width, ((event.clientY - box.top) * this.height) / box.height];
  }

  // A finger hits less exactly than a pointer.
  #nearest([x, y], reach) {
    let best = null;
    this.people.forEach((person, who) => person.forEach((point, index) => {
      if (point === null) return;
      const distance = Math.hypot(point[0] - x, point[1] - y);
      if (distance < reach && (best === null || distance < best.distance)) best = { who, index, distance };
    }));
    return best;
  }

  #put([x, y]) {
    const clamp = (value, most) => Math.min(most - 1, Math.max(0, value));
    this.people[this.chosen.who][this.chosen.index] = [clamp(x, this.width), clamp(y, this.height)];
    this.#draw();
  }

  #bind() {
    let dragging = false;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.chosen = this.#nearest(this.#at(event), (event.pointerType === "touch" ? 24 : 12) * (this.width / this.canvas.clientWidth));
      dragging = this.chosen !== null;
      if (dragging) this.canvas.setPointerCapture(event.pointerId);
      this.#draw();
    });
    this.canvas.addEventListener("pointermove", (event) => dragging && this.#put(this.#at(event)));
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => (dragging = false));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const step = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] }[event.key];
    if (event.key === "Tab" && !event.shiftKey) {
      const next = this.chosen === null ? 0 : this.chosen.who * 18 + this.chosen.index + 1;
      if (next >= this.people.length * 18) return;
      this.chosen = { who: Math.floor(next / 18), index: next % 18 };
    } else if (this.chosen === null) return;
    else if (step) {
      const point = this.people[this.chosen.who][this.chosen.index] ?? this.#standing()[this.chosen.index];
      this.#put([point[0] + step[0], point[1] + step[1]]);
    } else if (event.key === "Delete") this.#hideChosen();
    else return;
    event.preventDefault();
    this.#draw();
  }

  #hideChosen() {
    this.people[this.chosen.who][this.chosen.index] = null;
    this.#draw();
  }

  #paint(context) {
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.width, this.height);
    for (const person of this.people) {
      LIMBS.forEach(([from, to], index) => {
        if (person[from] === null || person[to] === null) return;
        const [[x1, y1], [x2, y2]] = [person[from], person[to]];
        context.save();
        context.translate((x1 + x2) / 2, (y1 + y2) / 2);
        context.rotate(Math.atan2(y2 - y1, x2 - x1));
        context.fillStyle = colour(index);
        context.globalAlpha = 0.6;
        context.beginPath();
        context.ellipse(0, 0, Math.hypot(x2 - x1, y2 - y1) / 2, 4, 0, 0, 2 * Math.PI);
        context.fill();
        context.restore();
      });
      person.forEach((point, index) => {
        if (point === null) return;
        context.fillStyle = colour(index);
        context.beginPath();
        context.arc(point[0], point[1], 4, 0, 2 * Math.PI);
        context.fill();
      });
    }
  }

  #draw() {
    const context = this.canvas.getContext("2d");
    this.#paint(context);
    this.hide.disabled = this.chosen === null;
    if (this.chosen === null) {
      this.status.textContent = "Drag a point.";
      return;
    }
    const point = this.people[this.chosen.who][this.chosen.index];
    this.status.textContent = `${NAMES[this.chosen.index]}${point === null ? " (hidden)" : ""}`;
    if (point === null) return;
    context.strokeStyle = "#fff";
    context.beginPath();
    context.arc(point[0], point[1], 9, 0, 2 * Math.PI);
    context.stroke();
  }

  toUrl() {
    const map = document.createElement("canvas");
    map.width = this.width;
    map.height = this.height;
    this.#paint(map.getContext("2d"));
    return map.toDataURL("image/png");
  }
}
