"use strict";
// A viewer for each .comparison: two pictures under a slider, zoomed and moved as one, and the same place of all pictures.
(() => {
  const DETAIL = 40; // pixels of each picture that its square below shows
  const ZOOMS = ["fit", "1", "2", "4", "8"];

  class Viewer {
    constructor(section) {
      this.find = (selector) => section.querySelector(selector);
      this.sources = [...section.querySelectorAll(".pictures img")];
      this.canvases = [...section.querySelectorAll(".pictures canvas")];
      this.captions = [...section.querySelectorAll(".pictures figcaption")];
      this.buttons = [...section.querySelectorAll(".zoom button")];
      this.view = this.find(".view");
      this.slider = this.find("img-comparison-slider");
      this.width = Number(this.sources[0].getAttribute("width"));
      this.height = Number(this.sources[0].getAttribute("height"));
      this.place = { x: Number(section.dataset.x), y: Number(section.dataset.y) }; // the middle of what is looked at
      this.share = 0.5; // where the border stands in the visible part
      this.zoom = "fit";
      this.listen();
      this.choose();
      this.resize();
      Promise.all(this.sources.map((image) => image.decode())).then(() => this.squares());
    }

    listen() {
      for (const side of ["left", "right"]) this.find("." + side).addEventListener("change", () => this.choose());
      for (const button of this.buttons) button.addEventListener("click", () => this.zoomTo(button.dataset.zoom));
      this.slider.addEventListener("slide", () => {
        const at = (this.slider.value / 100) * this.slider.offsetWidth - this.view.scrollLeft;
        this.share = Math.min(1, Math.max(0, at / this.visible()));
        this.slider.setAttribute("aria-valuenow", Math.round(this.slider.value));
      });
      this.view.addEventListener("scroll", () => {
        this.place = this.middle();
        this.border();
        this.squares();
      });
      this.view.addEventListener("mousedown", (event) => { // touch scrolls by itself
        if (this.zoom === "fit" || event.button !== 0 || this.slider.isMouseDown) return;
        event.preventDefault(); // no selecting
        this.grabbed = { x: this.view.scrollLeft + event.clientX, y: this.view.scrollTop + event.clientY };
      });
      window.addEventListener("mousemove", (event) => { // also beside the picture
        if (event.buttons !== 1) this.grabbed = null;
        if (!this.grabbed) return;
        this.view.scrollLeft = this.grabbed.x - event.clientX;
        this.view.scrollTop = this.grabbed.y - event.clientY;
      });
      this.view.addEventListener("pointermove", (event) => {
        const box = this.slider.getBoundingClientRect();
        this.squares({ x: (event.clientX - box.left) / this.scale, y: (event.clientY - box.top) / this.scale });
      });
      this.view.addEventListener("pointerleave", () => this.squares());
      this.view.addEventListener("keydown", (event) => {
        const step = { "+": 1, "=": 1, "-": -1 }[event.key];
        if (event.ctrlKey || event.metaKey || event.altKey || (step === undefined && event.key !== "0")) return;
        event.preventDefault();
        const next = ZOOMS.indexOf(this.zoom) + (step || 0);
        this.zoomTo(event.key === "0" ? "fit" : ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, next))]);
      });
      new ResizeObserver(() => {
        if (this.view.clientWidth !== this.seen) this.resize();
      }).observe(this.view);
    }

    choose() {
      for (const [side, slot] of [["left", "first"], ["right", "second"]]) {
        const index = Number(this.find("." + side).value);
        const image = this.slider.querySelector(`[slot="${slot}"]`);
        image.src = this.sources[index].src;
        image.alt = this.sources[index].alt;
        this.find(".name-" + side).textContent = this.captions[index].textContent;
      }
    }

    zoomTo(zoom) {
      const place = this.zoom === "fit" ? this.place : this.middle();
      this.zoom = zoom;
      for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.zoom === zoom));
      this.show(place);
    }

    resize() {
      this.seen = this.view.clientWidth;
      this.fit = Math.min(this.seen / this.width, (0.75 * window.innerHeight) / this.height);
      if (this.fit > 1) this.fit = Math.min(4, Math.floor(this.fit));
      this.view.style.height = Math.ceil(this.height * this.fit) + "px"; // stays when zoomed: nothing below moves
      this.show(this.place);
    }

    show(place) {
      this.scale = this.zoom === "fit" ? this.fit : Number(this.zoom);
      this.slider.style.width = this.width * this.scale + "px";
      this.slider.classList.toggle("pixels", this.scale >= 1);
      this.slider.classList.toggle("zoomed", this.zoom !== "fit");
      this.slider.handle = this.zoom !== "fit"; // enlarged: the handle moves the border, all else moves the picture
      this.slider.resetDimensions();
      if (this.zoom !== "fit") {
        this.view.scrollLeft = place.x * this.scale - this.view.clientWidth / 2;
        this.view.scrollTop = place.y * this.scale - this.view.clientHeight / 2;
      }
      this.place = place;
      this.border();
      this.squares();
    }

    visible() {
      return Math.min(this.slider.offsetWidth, this.view.clientWidth);
    }

    middle() {
      if (this.zoom === "fit") return this.place;
      const half = (seen, whole) => Math.min(seen, whole * this.scale) / 2;
      return {
        x: (this.view.scrollLeft + half(this.view.clientWidth, this.width)) / this.scale,
        y: (this.view.scrollTop + half(this.view.clientHeight, this.height)) / this.scale,
      };
    }

    border() { // keeps the border and its handle in the visible part
      const at = this.view.scrollLeft + this.share * this.visible();
      this.slider.value = (100 * at) / this.slider.offsetWidth;
      const seen = Math.min(this.slider.offsetHeight, this.view.clientHeight);
      this.slider.style.setProperty("--handle-position-start", this.view.scrollTop + seen / 2 + "px");
    }

    squares(place = this.place) {
      const size = Math.min(DETAIL, this.width, this.height);
      const inside = (at, whole) => Math.round(Math.min(whole - size, Math.max(0, at - size / 2)));
      const x = inside(place.x, this.width);
      const y = inside(place.y, this.height);
      this.canvases.forEach((canvas, index) => {
        const context = canvas.getContext("2d");
        context.imageSmoothingEnabled = false; // the pixels as they are
        context.clearRect(0, 0, canvas.width, canvas.height);
        context.drawImage(this.sources[index], x, y, size, size, 0, 0, canvas.width, canvas.height);
      });
    }
  }

  for (const section of document.querySelectorAll(".comparison")) section.viewer = new Viewer(section);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
})();
