// The page's bot: Pipecat's runner, as `python daily_bot.py -t daily` starts it.
const RUNNER = "http://localhost:7860";

// What the page that is built may load, and from where. Daily's own library comes in two parts,
// of which it loads the second from c.daily.co; with LiveKit alone that can go. The addresses of
// rooms are not known before a call, so connections may go anywhere with TLS, and
// to a LiveKit server on this machine.
const POLICY = {
  "default-src": "'none'",
  "script-src": "'self' https://c.daily.co",
  "style-src": "'self'",
  "img-src": "'self' data:",
  "media-src": "'self' blob:",
  "worker-src": "'self' blob:",
  "connect-src": "'self' https: wss: http://localhost:* ws://localhost:*",
  "base-uri": "'none'",
  "form-action": "'none'",
};

/** Writes the policy into the page; not while developing, when Vite adds scripts and styles. */
const contentSecurityPolicy = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: {
        "http-equiv": "Content-Security-Policy",
        content: Object.entries(POLICY)
          .map(([name, sources]) => `${name} ${sources}`)
          .join("; "),
      },
      injectTo: "head-prepend",
    },
  ],
};

/** @type {import("vite").UserConfig} */
export default {
  base: "./",
  plugins: [contentSecurityPolicy],
  // The rooms' libraries are large, and each is a file of its own that is loaded for a call.
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 1500 },
  server: { proxy: { "/start": RUNNER, "/status": RUNNER } },
  preview: { proxy: { "/start": RUNNER, "/status": RUNNER } },
};
