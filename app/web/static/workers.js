// Workers come and go.

import { byId } from "./dom.js";
import { keepFresh } from "./live.js";

keepFresh(byId("table"), () => "/workers/table");
