// Runs before the page is painted: a chosen theme must not flash in the other one.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
