// The server's routes, as this page uses them. Every failure is an ApiError with the server's own words.
import { EventLink } from "./event_link.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  // Nobody answered, or something on the way did in the server's place: it may go through later.
  get isAway() {
    return this.status === 0 || [502, 504].includes(this.status) || this.status >= 520;
  }
}

// FastAPI's list of problems, A1111's {"error","detail","errors"}, or our own {"error"}.
function words(body, reply) {
  if (Array.isArray(body?.detail))
    return body.detail.map((d) => `${d.loc?.slice(1).join(".") ?? "request"}: ${d.msg}`).join("; ");
  const text = [body?.detail, body?.errors, body?.error].find((t) => typeof t === "string" && t !== "");
  return text ?? `${reply.status} ${reply.statusText}`;
}

async function call(method, path, body, { signal } = {}) {
  let reply;
  try {
    reply = await fetch(path, {
      method,
      signal,
      cache: "no-store",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.", 0);
  }
  const text = await reply.text();
  let value = null;
  try {
    value = text === "" ? null : JSON.parse(text);
  } catch {
    value = null;
  }
  if (reply.status === 401) location.reload(); // the session ended: the page's address answers with the form to log in
  if (!reply.ok) throw new ApiError(words(value, reply), reply.status);
  return value;
}

const get = (path, options) => call("GET", path, undefined, options);
const post = (path, body = {}, options) => call("POST", path, body, options);
const query = (values) => {
  const used = Object.entries(values).filter(([, v]) => v !== undefined && v !== "" && v !== false);
  return used.length ? `?${new URLSearchParams(used)}` : "";
};

// A1111's lists.
export const lists = {
  models: () => get("/sdapi/v1/sd-models"),
  vaes: () => get("/sdapi/v1/sd-vae"),
  samplers: () => get("/sdapi/v1/samplers"),
  schedulers: () => get("/sdapi/v1/schedulers"),
  upscalers: () => get("/sdapi/v1/upscalers"),
  latentModes: () => get("/sdapi/v1/latent-upscale-modes"),
  loras: () => get("/sdapi/v1/loras"),
  networks: () => get("/api/v1/networks"),
  styles: () => get("/sdapi/v1/prompt-styles"),
  controlModels: () => get("/controlnet/model_list"),
  controlModules: () => get("/controlnet/module_list"),
  refreshModels: () => post("/sdapi/v1/refresh-checkpoints"),
  refreshLoras: () => post("/sdapi/v1/refresh-loras"),
};
export const detect = (module, image, { resolution, a, b }) =>
  post("/controlnet/detect", { controlnet_module: module, controlnet_input_images: [image], controlnet_processor_res: resolution,
    controlnet_threshold_a: a, controlnet_threshold_b: b });
export const scriptInfo = () => get("/sdapi/v1/script-info");
export const pngInfo = (image) => post("/sdapi/v1/png-info", { image });
export const getOptions = () => get("/sdapi/v1/options");
export const setOptions = (changes) => post("/sdapi/v1/options", changes);
export const countTokens = (prompt, options) => get(`/api/v1/tokens${query({ prompt })}`, options);

// Jobs. Pictures are made by A1111's routes, which answer with the job's number as soon as the server keeps it.
export const jobs = {
  draw: (kind, request) => post(`/sdapi/v1/${kind}?wait=0`, request),
  enlarge: (request) => post("/api/v1/jobs", { kind: "extras", ...request }),
  unload: () => post("/sdapi/v1/unload-checkpoint"),
  list: (before) => get(`/api/v1/jobs${query({ before })}`),
  result: (id) => get(`/api/v1/jobs/${id}/result?images=false`),
  cancel: (id) => call("DELETE", `/api/v1/jobs/${id}`),
  interrupt: (id) => post(`/api/v1/jobs/${id}/interrupt`),
  skip: (id) => post(`/api/v1/jobs/${id}/skip`),
  move: (id, place) => post(`/api/v1/jobs/${id}/move`, { place }),
  preview: (id, version) => `/api/v1/jobs/${id}/preview?v=${version}`,
};

// shelf: "all", "favourites" or "trash".
export const gallery = {
  list: (filters) => get(`/api/v1/gallery${query(filters)}`),
  change: (id, changes) => call("PATCH", `/api/v1/gallery/${id}`, changes),
  remove: (id) => call("DELETE", `/api/v1/gallery/${id}`),
};
export const whoAmI = () => get("/api/v1/me");
export const logOut = () => post("/api/v1/logout");
export const admin = { load: () => get("/api/v1/admin"), limit: (limits) => call("PATCH", "/api/v1/admin", { limits }) };

// What this user's pages remember: small JSON documents kept by the server.
export const documents = {
  load: (name) => get(`/api/v1/documents/${name}`),
  save: (name, value) => call("PUT", `/api/v1/documents/${name}`, value),
};

export const watchEvents = (handlers, onLink) => new EventLink("/api/v1/events", handlers, onLink);
