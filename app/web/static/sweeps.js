// The table of sweeps, which lives.

import { byId } from "./dom.js";
import { keepFresh } from "./live.js";

keepFresh(byId("table"), () => `/sweeps/table${location.search}`);
