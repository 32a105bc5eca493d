// @ts-check
/** The words of each state: one word that is read from afar, and a hint for whoever stands near. */

/**
 * @param {import("./states.js").State} state
 * @param {{muted: boolean}} also
 * @returns {{word: string, hint: string}}
 */
export function wording(state, { muted }) {
  switch (state.name) {
    case "idle":
      return { word: "Ready when you are", hint: "Call, and talk as you would to a person. You can interrupt at any time." };
    case "connecting":
      return { word: "Connecting", hint: "Your browser may ask for the microphone." };
    case "waiting":
      return { word: "In line", hint: waitingHint(state) };
    case "listening":
      return muted
        ? { word: "You are muted", hint: "The assistant cannot hear you." }
        : { word: "Listening", hint: state.hearing ? "I hear you." : "Just talk." };
    case "thinking":
      return { word: "Thinking", hint: "One moment." };
    case "speaking":
      return { word: "Speaking", hint: "Talk over it, or tap Stop." };
    case "interrupted":
      return { word: "Stopped", hint: "Go on." };
    case "problem":
      return { word: state.problem?.title ?? "", hint: state.problem?.advice ?? "" };
  }
}

/** @param {import("./states.js").State} state */
function waitingHint({ place, waitS }) {
  const before = place === 1 ? "You are next." : `You are number ${place}.`;
  if (!(waitS > 0)) return before;
  const wait = waitS < 90 ? `${Math.max(5, Math.ceil(waitS / 5) * 5)} seconds` : `${Math.ceil(waitS / 60)} minutes`;
  return `${before} About ${wait}.`;
}
