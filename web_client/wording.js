// @ts-check
/** The words of each state: one word that is read from afar, and a hint for whoever stands near. */

/**
 * @param {import("./states.js").State} state
 * @param {{muted: boolean, tapping?: boolean}} also
 * @returns {{word: string, hint: string}}
 */
export function wording(state, { muted, tapping }) {
  switch (state.name) {
    case "idle":
      return { word: "Ready when you are", hint: "Call, and talk as you would to a person. You can interrupt at any time." };
    case "connecting":
      return { word: "Connecting", hint: "Your browser may ask for the microphone." };
    case "waiting":
      return { word: "In line", hint: waitingHint(state) };
    case "listening":
      if (tapping) return tappingWords(muted);
      return muted
        ? { word: "You are muted", hint: "The assistant cannot hear you." }
        : { word: "Listening", hint: state.hearing ? "I hear you." : "Just talk." };
    case "thinking":
      return { word: "Thinking", hint: "One moment." };
    case "speaking":
      return { word: "Speaking", hint: tapping ? "Tap Talk or Stop to take over." : "Talk over it, or tap Stop." };
    case "interrupted":
      return { word: "Stopped", hint: "Go on." };
    case "problem":
      return { word: state.problem?.title ?? "", hint: state.problem?.advice ?? "" };
  }
}

/** @param {boolean} muted */
function tappingWords(muted) {
  if (muted) return { word: "Tap to talk", hint: "Tap Talk, say it, and tap Done." };
  return { word: "Listening", hint: "Tap Done when you have said it." };
}

/** @param {{muted: boolean, tapping?: boolean}} model @returns {string} */
export function muteLabel({ muted, tapping }) {
  if (tapping) return muted ? "Talk" : "Done";
  return muted ? "Unmute" : "Mute";
}

/** @param {import("./states.js").State} state */
function waitingHint({ place, waitS }) {
  const before = place === 1 ? "You are next." : `You are number ${place}.`;
  if (!(waitS > 0)) return before;
  const wait = waitS < 90 ? `${Math.max(5, Math.ceil(waitS / 5) * 5)} seconds` : `${Math.ceil(waitS / 60)} minutes`;
  return `${before} About ${wait}.`;
}
