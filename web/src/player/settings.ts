/** How Shaka is set up for bytes that come by the scheme `essaim:`. */

/** Seconds of film that Shaka holds; the long look-ahead lives in the engine's store. */
const bufferingGoal = 10;

/** Times out nothing and retries nothing by itself: the source knows better when to wait and when to give up. */
const patience = {
  maxAttempts: 1,
  baseDelay: 1_000,
  backoffFactor: 2,
  fuzzFactor: 0.5,
  timeout: 0,
  stallTimeout: 0,
  connectionTimeout: 0,
};

/** How Shaka is set up. */
export const shakaSettings = {
  drm: { retryParameters: patience },
  manifest: { retryParameters: patience },
  streaming: { bufferingGoal, rebufferingGoal: 1, bufferBehind: 30, maxDisabledTime: 0, retryParameters: patience },
  abr: {
    enabled: true,
    useNetworkInformation: false,
    defaultBandwidthEstimate: 2_500_000,
    restrictToElementSize: true,
  },
};
