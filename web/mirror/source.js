// Where pictures come from: a camera, the screen, or a video file, always as a <video> that plays.

const SIZE = { width: { ideal: 1920 }, height: { ideal: 1080 }, frameRate: { ideal: 60 } };

export const FRONT = "front";
export const REAR = "rear";
export const SCREEN = "screen";
export const FILE = "file";

// Choices for a menu: the fixed ones, then each camera by its name (known only once access was given).
export async function listSources() {
  const fixed = [
    { id: FRONT, label: "Front camera" },
    { id: REAR, label: "Rear camera" },
  ];
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const cameras = devices
    .filter((device) => device.kind === "videoinput" && device.deviceId)
    .map((device, index) => ({ id: `device:${device.deviceId}`, label: device.label || `Camera ${index + 1}` }));
  const screen = navigator.mediaDevices?.getDisplayMedia ? [{ id: SCREEN, label: "Screen or window" }] : [];
  return [...fixed, ...cameras, ...screen, { id: FILE, label: "Video file…" }];
}

// Rear cameras, screens and files show the world as it is; a front camera is a mirror.
export const mirrorsByNature = (id) => id === FRONT || id.startsWith("device:");

function constraintsOf(id) {
  if (id.startsWith("device:")) return { ...SIZE, deviceId: { exact: id.slice(7) } };
  return { ...SIZE, facingMode: { ideal: id === REAR ? "environment" : "user" } };
}

function explain(error, id) {
  if (id === SCREEN) return new Error(`The screen was not shared: ${error.message}. Start again to choose one.`, { cause: error });
  const texts = {
    NotAllowedError: "The camera was refused: allow it beside the address bar.",
    NotFoundError: "There is no camera: plug one in, or choose the screen or a video file.",
    NotReadableError: "The camera is in use by another program: close that one.",
    OverconstrainedError: "This camera is gone: choose another.",
  };
  return new Error(texts[error.name] ?? `The camera did not start: ${error.message}`, { cause: error });
}

export class Source {
  // `video` plays whatever is chosen; `onend` is called when the source goes away by itself (cable pulled).
  constructor(video, onend) {
    this.video = video;
    this.onend = onend;
    this.stream = null;
    this.url = null;
    this.id = null;
  }

  async open(id, file = null) {
    this.close();
    this.id = id;
    if (id === FILE) this.#playFile(file);
    else await this.#playStream(id);
    try {
      await this.video.play();
    } catch (error) {
      if (error.name === "AbortError") return; // replaced by a newer choice meanwhile
      throw new Error(`The video does not play: ${error.message}`, { cause: error });
    }
  }

  async #playStream(id) {
    if (!navigator.mediaDevices?.getUserMedia)
      throw new Error("Browsers give the camera to https pages only: open this page over https, or from localhost.");
    try {
      this.stream =
        id === SCREEN
          ? await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 60 }, audio: false })
          : await navigator.mediaDevices.getUserMedia({ video: constraintsOf(id), audio: false });
    } catch (error) {
      throw explain(error, id);
    }
    const stream = this.stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (this.stream === stream) this.onend();
    });
    this.video.loop = false;
    this.video.srcObject = stream;
  }

  #playFile(file) {
    if (!file) throw new Error("No video file was chosen.");
    this.url = URL.createObjectURL(file);
    this.video.loop = true;
    this.video.src = this.url;
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
    if (this.url) {
      URL.revokeObjectURL(this.url);
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.url = null;
  }
}
