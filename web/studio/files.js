// Pictures from files, the clipboard and drops.

export const isPicture = (file) => file?.type?.startsWith("image/");

// "data:image/png;base64,..."
export const readDataUrl = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });

export async function fetchDataUrl(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`The picture could not be read (${reply.status}).`);
  return readDataUrl(await reply.blob());
}

export const base64Of = (dataUrl) => dataUrl.slice(dataUrl.indexOf(",") + 1);

export function loadImage(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.addEventListener("load", () => resolve(image));
    image.addEventListener("error", () => reject(new Error("This file is not a picture that the browser can show.")));
    image.src = url;
  });
}

// Calls take(file) for a picture dropped on `place` or pasted into it, unless something inside took it.
export function acceptPictures(place, take) {
  place.addEventListener("dragover", (event) => {
    if (event.defaultPrevented || ![...event.dataTransfer.items].some((item) => item.kind === "file")) return;
    event.preventDefault();
    place.classList.add("dropping");
  });
  place.addEventListener("dragleave", () => place.classList.remove("dropping"));
  place.addEventListener("drop", (event) => {
    place.classList.remove("dropping");
    const file = [...event.dataTransfer.files].find(isPicture);
    if (!file || event.defaultPrevented) return;
    event.preventDefault();
    take(file);
  });
  place.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(isPicture);
    if (!file || event.defaultPrevented) return;
    event.preventDefault();
    take(file);
  });
}
