// A cue list: prompts with times and crossfades. The file is
//   {"loop": false, "cues": [{"at": 0, "fade": 2, "prompt": "...", "strength": 0.7, "steps": 2, "seed": 1}, ...]}
// with `at` in seconds from the start (or from the audio file's start), `fade` in seconds; strength, steps and seed
// may be left out. `prompts`, a list of {text, weight}, may stand in place of `prompt`.

export class CueError extends Error {}

const LIMITS = { at: [0, 86400], fade: [0, 600], strength: [0, 1], steps: [1, 50], seed: [0, 2 ** 53 - 1] };
export const MOST_CUES = 1000;

function readNumber(cue, name, where, otherwise) {
  const value = cue[name];
  if (value === undefined || value === null || value === "") return otherwise;
  const [least, most] = LIMITS[name];
  if (typeof value !== "number" || !(value >= least && value <= most))
    throw new CueError(`${where}: "${name}" must be a number from ${least} to ${most}`);
  return value;
}

function readPrompts(cue, where) {
  if (typeof cue.prompt === "string" && cue.prompt.trim()) return [{ text: cue.prompt.trim(), weight: 1 }];
  if (Array.isArray(cue.prompts) && cue.prompts.length) {
    const good = cue.prompts.every((p) => typeof p?.text === "string" && p.text.trim() && p.weight > 0);
    if (good) return cue.prompts.map(({ text, weight }) => ({ text: text.trim(), weight }));
    throw new CueError(`${where}: each of "prompts" needs a text and a weight above 0`);
  }
  throw new CueError(`${where}: "prompt" is missing`);
}

function readCue(cue, index) {
  const where = `cue ${index + 1}`;
  if (typeof cue !== "object" || cue === null) throw new CueError(`${where} is not an object`);
  const result = {
    at: readNumber(cue, "at", where, 0),
    fade: readNumber(cue, "fade", where, 0),
    prompts: readPrompts(cue, where),
  };
  for (const name of ["strength", "steps", "seed"]) {
    const value = readNumber(cue, name, where);
    if (value !== undefined) result[name] = value;
  }
  return result;
}

// Text -> {loop, cues}, in the order of time; throws CueError with the first fault.
export function parseCueList(text) {
  let list;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new CueError(`not JSON: ${error.message}`);
  }
  const cues = Array.isArray(list) ? list : list?.cues;
  if (!Array.isArray(cues)) throw new CueError('there is no list "cues"');
  if (cues.length > MOST_CUES) throw new CueError(`more than ${MOST_CUES} cues`);
  return { loop: list.loop === true, cues: cues.map(readCue).sort((a, b) => a.at - b.at) };
}

export function formatCueList({ loop, cues }) {
  const plain = cues.map(({ at, fade, prompts, ...rest }) => ({
    at,
    fade,
    ...(prompts.length === 1 ? { prompt: prompts[0].text } : { prompts }),
    ...rest,
  }));
  return JSON.stringify({ loop, cues: plain }, null, 2);
}

// Which cue holds at `seconds`: the last one that began; -1 before the first.
export function cueAt(cues, seconds) {
  let index = -1;
  while (index + 1 < cues.length && cues[index + 1].at <= seconds) index++;
  return index;
}

// A list without audio ends when its last cue's fade has, plus a second to see it.
export function lengthOf(cues) {
  const last = cues.at(-1);
  return last ? last.at + last.fade + 1 : 0;
}
