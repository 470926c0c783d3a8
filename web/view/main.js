// Shows what a client of the mirror sees: ?client=ID (the newest without), ?fill to cover the whole window.
import { Backoff } from "../common/backoff.js";
import { PictureSocket } from "../common/picture_socket.js";
import { socketUrl } from "../common/server.js";

const canvas = document.getElementById("picture");
const context = canvas.getContext("2d", { alpha: false });
const query = new URLSearchParams(location.search);
const client = /^\d+$/.test(query.get("client") ?? "") ? query.get("client") : "0";
const backoff = new Backoff({ most: 3000 });

function draw(bitmap) {
  const { width, height } = bitmap;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(bitmap, 0, 0);
  backoff.reset();
  return null; // the camera's clock is another browser's
}

// The last picture stays while there is no connection.
function connect() {
  new PictureSocket(socketUrl(`/ws?watch=${client}`), {
    onpicture: draw,
    onfail: () => setTimeout(connect, backoff.next()),
  });
}

canvas.classList.toggle("fill", query.has("fill") && query.get("fill") !== "false");
navigator.wakeLock?.request("screen").catch(() => {}); // OBS and projectors do not need it
connect();
