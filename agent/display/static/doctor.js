// The doctor's page: the shared view; when the visit is over it says so and nothing else can be believed.

import { View } from "./view.js";

const view = new View({
  closed() {
    view.words.lost = view.words.closed;
    view.lose(true);
  },
});
