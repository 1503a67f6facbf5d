// The live page: your own images, from a file, the clipboard or the camera.

const MAX_BYTES = 100_000_000;
const MAX_PIXELS = 100_000_000; // larger images take gigabytes to decode

async function openImage(file) {
  const name = file.name || "pasted image";
  if (file.size > MAX_BYTES) return showMessage(`${name} is larger than 100 MB; use a smaller file.`);
  let bitmap;
  try { bitmap = await createImageBitmap(file); } catch { return showMessage(`${name} is not an image that this browser can read.`); }
  const megapixels = (bitmap.width * bitmap.height) / 1e6;
  if (bitmap.width * bitmap.height > MAX_PIXELS) showMessage(`${name} has ${megapixels.toFixed(0)} megapixels, and this page reads at most 100; use a smaller image.`);
  else {
    data.images.push({ name, label: null, pixels: fitted(bitmap) });
    buildImages();
    chooseImage(data.images.length - 1);
  }
  bitmap.close();
}

/** An image file at the model's size: cropped, padded or stretched as in training. */
function fitted(source, width = source.width, height = source.height) {
  const canvas = make("canvas", { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = data.resize === "pad" ? "#000" : "#fff"; // transparent pixels become white
  context.fillRect(0, 0, WIDTH, HEIGHT);
  let [x, y, toWidth, toHeight] = [0, 0, WIDTH, HEIGHT];
  if (data.resize === "crop") {
    const scale = data.cropShare * Math.min(width / WIDTH, height / HEIGHT);
    [x, y] = [(width - scale * WIDTH) / 2, (height - scale * HEIGHT) / 2];
    [width, height] = [scale * WIDTH, scale * HEIGHT];
  } else if (data.resize === "pad") {
    const scale = Math.min(WIDTH / width, HEIGHT / height);
    [toWidth, toHeight] = [Math.round(width * scale), Math.round(height * scale)];
  }
  const [left, top] = [Math.round((WIDTH - toWidth) / 2), Math.round((HEIGHT - toHeight) / 2)];
  context.fillStyle = "#fff";
  context.fillRect(left, top, toWidth, toHeight);
  context.drawImage(source, x, y, width, height, left, top, toWidth, toHeight);
  const rgba = context.getImageData(0, 0, WIDTH, HEIGHT).data;
  const pixels = new Uint8Array(WIDTH * HEIGHT * CHANNELS);
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    const rgb = rgba.subarray(4 * i, 4 * i + 3);
    pixels.set(CHANNELS === 3 ? rgb : [gray(rgb)], i * CHANNELS);
  }
  return pixels;
}

$("file").addEventListener("change", (event) => {
  if (event.target.files.length) openImage(event.target.files[0]);
  event.target.value = "";
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  window.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) openImage(event.dataTransfer.files[0]);
  });
window.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) openImage(file);
  else showMessage("There is no image on the clipboard.");
});

// ---- The camera --------------------------------------------------------------------------------

let video = null; // while it runs

/** Show camera frames as fast as the model runs, until stopped. */
async function startCamera() {
  const one = make("video", { muted: true, playsInline: true });
  try { one.srcObject = await navigator.mediaDevices.getUserMedia({ video: true }); } catch (error) { return showMessage(`The camera cannot be used here: ${error.message}.`); }
  await one.play();
  video = one;
  data.images.push({ name: "camera", label: null, pixels: fitted(video, video.videoWidth, video.videoHeight) });
  buildImages();
  chooseImage(data.images.length - 1);
  nextFrame(data.images.length - 1);
}

function stopCamera() {
  for (const track of video.srcObject.getTracks()) track.stop();
  video = null;
  render();
}

function nextFrame(image) {
  $("camera").setAttribute("aria-pressed", video !== null);
  if (!video) return buildImages();
  if (state.image !== image) return stopCamera();
  if (isIdle()) {
    const pixels = fitted(video, video.videoWidth, video.videoHeight);
    const isPlain = state.pixels === data.images[image].pixels;
    data.images[image].pixels = pixels;
    before.delete(image);
    if (isPlain) state = { ...state, pixels }; // not an undo step: undo would go back frame by frame
    run();
  }
  setTimeout(() => nextFrame(image), 50);
}

$("camera").hidden = !navigator.mediaDevices?.getUserMedia;
$("camera").addEventListener("click", () => { if (video) stopCamera(); else startCamera(); });
