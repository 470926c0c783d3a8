// The page's URL flags; names and values are transformirror-web's, with `transport` and `codec` added.

const TRUE = /^(1|true|on|yes|y|t|)$/i;

// {autoconnect, camera, debug, prompt, transport, codec}: flags are null when the URL does not name them.
export function readFlags(search) {
  const query = new URLSearchParams(search);
  const flag = (name) => (query.has(name) ? TRUE.test(query.get(name)) : null);
  const oneOf = (name, values) => (values.includes(query.get(name)) ? query.get(name) : null);
  return {
    autoconnect: flag("autoconnect") ?? false,
    camera: flag("camera"),
    debug: flag("debug"),
    prompt: flag("prompt"),
    transport: oneOf("transport", ["auto", "webrtc", "ws"]),
    codec: oneOf("codec", ["auto", "vp8", "h264"]),
  };
}
