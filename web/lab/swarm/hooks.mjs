/** Puts the stand-in in the place of the client's WebRTC module; all else is as npm has it. */
export function resolve(specifier, context, next) {
  if (specifier === "webrtc-polyfill")
    return { url: new URL("./webrtc.mjs", import.meta.url).href, shortCircuit: true };
  return next(specifier, context);
}
