// The page of examples/web as it is published, but for our stand-in in the place of Daily's library.

import { fileURLToPath } from "node:url";
import page from "../../examples/web/vite.config.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default {
  ...page,
  root: here("../../examples/web"),
  resolve: { alias: { "@daily-co/daily-js": here("daily-js/index.js") } },
};
