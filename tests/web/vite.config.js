// One page with Pipecat's real client, and our stand-in in the place of Daily's library.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  base: "./",
  resolve: {
    alias: { "@daily-co/daily-js": here("daily-js/index.js") },
    // One copy of each, also for what lies in examples/web.
    dedupe: ["@pipecat-ai/client-js", "react", "react-dom"],
  },
  esbuild: { jsx: "automatic" },
  build: { target: "esnext", minify: false },
});
