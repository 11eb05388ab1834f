// A beat each second. It is a worker of its own because browsers slow the timers of a page that nobody looks at, and
// overnight nobody does.
"use strict";

setInterval(() => postMessage(0), 1000);
