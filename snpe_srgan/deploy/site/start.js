// Browsers load no modules from file://, so the page says what to do there.
if (location.protocol === "file:") {
  document.getElementById("status").textContent =
    "Opened as a file this page cannot load its network. Serve its folder: python3 -m http.server, then http://localhost:8000/";
}
