// The page's URL flags; names and values are transformirror-web's, with `transport` added.

const TRUE = /^(1|true|on|yes|y|t|)$/i;

// {autoconnect, camera, debug, prompt, transport}: flags are null when the URL does not name them.
export function readFlags(search) {
  const query = new URLSearchParams(search);
  const flag = (name) => (query.has(name) ? TRUE.test(query.get(name)) : null);
  const transport = query.get("transport");
  return {
    autoconnect: flag("autoconnect") ?? false,
    camera: flag("camera"),
    debug: flag("debug"),
    prompt: flag("prompt"),
    transport: ["auto", "webrtc", "ws"].includes(transport) ? transport : null,
  };
}
