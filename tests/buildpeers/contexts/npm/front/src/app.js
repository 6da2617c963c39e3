document.addEventListener("DOMContentLoaded", function () {
  document.querySelector("#greeting").textContent = greet("world");
});
