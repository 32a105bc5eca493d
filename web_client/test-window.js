// @ts-check
/**
 * `window.__call`: a read-only window for tests and the curious console.
 *
 *     state         name of the state (states.js)
 *     connectedMs   from the click to listening, 0 before
 *     responses     [{id, number, heardMs, final}], the last ones
 *     captions      [{who, text, cut}] as they can be read now
 *     player        {concealedMs, playedMs, bufferedMs, flushes, starved, stale, late} or null
 *     delayMs       from the player to the ear; loopbackMs: the loopback connection's part of it
 *     loopbackStream  MediaStream behind the loopback connection, or null
 *     speech        "channel" or "track"
 *     pictures      {sent, skipped} or null
 */

/** @param {import("./app.js").App} app */
export function openTestWindow(app) {
  const fields = {
    state: () => app.state.name,
    connectedMs: () => app.connectedMs,
    responses: () => app.call?.conversation?.replies ?? [],
    captions: () => readable(app),
    player: () => app.call?.player?.stats ?? null,
    delayMs: () => (app.call?.speaker.delay ?? 0) * 1000,
    loopbackMs: () => (app.call?.speaker.loopbackDelay ?? 0) * 1000,
    loopbackStream: () => app.call?.speaker.loopbackStream ?? null,
    speech: () => app.call?.speech ?? null,
    pictures: () => (app.call ? { sent: app.call.pictures.sent, skipped: app.call.pictures.skipped } : null),
  };
  const view = {};
  for (const [name, get] of Object.entries(fields)) Object.defineProperty(view, name, { get, enumerable: true });
  Object.defineProperty(window, "__call", { value: Object.freeze(view) });
}

/** @param {import("./app.js").App} app */
function readable(app) {
  const lines = app.call?.conversation?.captions.lines ?? [];
  return lines.map(({ who, text, shown, cut }) => ({ who, text: text.slice(0, shown), cut }));
}
