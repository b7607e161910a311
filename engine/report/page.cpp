#include "engine/report/page.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/encode.h"
#include "engine/io/json.h"
#include "engine/report/svg.h"

namespace retort {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--dim:#5b6675;--line:#dfe4ea;--student:#0b62b0;--teacher:#b8430a}
@media(prefers-color-scheme:dark){:root{--paper:#171b21;--ink:#e8edf3;--dim:#a3afbd;--line:#333b46;--student:#6db3f8;
--teacher:#ff9d5c}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:64rem;background:var(--paper);color:var(--ink);line-height:1.45;
font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid var(--line)}
p{max-width:46rem;overflow-wrap:anywhere}code{display:inline-block;max-width:100%;font-size:.9rem}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
figure{margin:0}.figures{display:flex;flex-wrap:wrap;gap:1rem}
.figures figure{max-width:100%;overflow-x:auto}
.figures svg{max-width:100%;height:auto}.figures .scroll svg{max-width:none}
details{margin-top:2rem;border-top:1px solid var(--line)}summary{font-size:1.15rem;font-weight:600;padding:.6rem 0;cursor:pointer}
:focus-visible{outline:2px solid var(--student);outline-offset:2px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.8rem;font-size:.8rem}
.gallery div{min-width:0;overflow-wrap:anywhere}
.gallery img{display:block;width:96px;height:96px;object-fit:contain;background:var(--line);margin-bottom:.2rem}
.track{position:relative;flex:1;max-width:24rem}.track input{width:100%;margin:0}
.track .at{position:absolute;top:1.3rem;width:2px;height:.5rem;background:var(--teacher);pointer-events:none}
.track button{position:absolute;top:1.7rem;transform:translateX(-50%);font:inherit;font-size:.75rem;line-height:1;padding:.15rem .3rem;
border:1px solid var(--line);border-radius:.2rem;background:var(--paper);color:var(--ink);cursor:pointer;white-space:nowrap}
.slider{position:sticky;top:0;padding:.6rem 0 2rem;background:var(--paper);display:flex;gap:.7rem;align-items:center;z-index:1}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:1rem}
.card{border:1px solid var(--line);border-radius:.4rem;padding:.6rem;min-width:0}
.card header{display:flex;gap:.6rem;font-size:.85rem;overflow-wrap:anywhere}
.card img{width:96px;height:96px;object-fit:contain;image-rendering:auto;background:var(--line)}
.bars{display:grid;grid-template-columns:minmax(3rem,7rem) 1fr 3.4rem;gap:0 .4rem;font-size:.8rem;margin-top:.5rem;align-items:center}
.bars span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.bars i{display:block;height:.5rem;border-radius:2px;min-width:1px}
.bars b{font-weight:400;min-width:0;overflow:hidden;text-align:right;font-variant-numeric:tabular-nums;font-size:.75rem;line-height:1.1}
.student{background:var(--student)}.teacher{background:var(--teacher)}
.field{display:block;padding:1.5rem 1rem;border:2px dashed var(--dim);border-radius:.6rem;text-align:center;cursor:pointer}
.field.over{border-color:var(--student);background:var(--line)}.field input{display:block;margin:.8rem auto 0;max-width:100%;font:inherit}
.one .card{max-width:40rem}.one .card header{flex-wrap:wrap;align-items:center}
.one .card img{width:auto;height:auto;min-width:96px;max-width:100%;max-height:16rem}
.one .bars{grid-template-columns:minmax(3rem,10rem) 1fr 3.4rem;gap:.3rem .6rem;font-size:1rem}.one .bars b{font-size:.85rem}
.one .bars span{white-space:normal;overflow-wrap:anywhere}
.key i{display:inline-block;width:.8rem;height:.6rem;border-radius:2px;margin:0 .3rem 0 .8rem}
)";

/// Cards of bars for the slider's temperature.
constexpr const char* kBars = R"(
  const slider = document.getElementById("temperature"), shown = document.getElementById("temperature-shown");
  const softmax = (logits, t) => {
    const top = Math.max(...logits), e = logits.map(x => Math.exp((x - top) / t)), sum = e.reduce((a, b) => a + b);
    return e.map(x => x / sum);
  };
  const rows = 6;
  // The bars of a sample, {student: logits, teacher: logits or [], truth}, in the element `box`.
  const makeCard = (box, classes, sample) => {
    const nets = ["teacher", "student"].filter(net => sample[net].length);
    // The classes that any of the two finds likely, the likeliest first.
    const weight = classes.map((_, c) => Math.max(...nets.map(net => softmax(sample[net], 1)[c])));
    const order = classes.map((_, c) => c).sort((a, b) => weight[b] - weight[a] || a - b).slice(0, rows);
    const cells = [];
    for (const c of order) {
      const name = document.createElement("span"), bars = document.createElement("div");
      const text = document.createElement("b");
      name.textContent = name.title = classes[c];
      if (classes[c] === sample.truth) name.style.fontWeight = 600;
      const parts = nets.map(net => bars.appendChild(Object.assign(document.createElement("i"), {className: net})));
      box.append(name, bars, text);
      cells.push({c, parts, text});
    }
    return {sample, nets, cells};
  };
  let cards = [];
  const draw = () => {
    const t = 10 ** Number(slider.value);
    shown.textContent = "T = " + t.toPrecision(2);
    for (const {sample, nets, cells} of cards) {
      const p = nets.map(net => softmax(sample[net], t));
      for (const {c, parts, text} of cells) {
        parts.forEach((part, k) => part.style.width = 100 * p[k][c] + "%");
        text.innerHTML = p.map(q => q[c] < 0.0005 ? "&lt;0.1%" : (100 * q[c]).toPrecision(q[c] >= 0.9995 ? 4 : 3) + "%").join("<br>");
      }
    }
  };
  slider.addEventListener("input", draw);
  const own = document.getElementById("temperature-own");
  if (own) own.addEventListener("click", () => { slider.value = own.value; draw(); });
)";

/// The cards of Page::samples, whose JSON is `samples`.
constexpr const char* kSamples = R"(
  const data = JSON.parse(document.getElementById("samples").textContent);
  cards = data.samples.map((sample, i) => makeCard(document.getElementById("bars-" + i), data.classes, sample));
  draw();
)";

/// The card of Page::classifier. What it runs stands behind this script, so that a page that was cut short can say so.
constexpr const char* kClassifier = R"(
  const about = JSON.parse(document.getElementById("about").textContent);
  const element = id => document.getElementById(id);
  const say = text => element("said").textContent = text;
  const bytesOf = part => {
    const digits = element(part)?.textContent.trim() ?? "", bytes = about.bytes[part];
    if (digits.length !== 4 * Math.ceil(bytes / 3))
      throw new Error(`This page was cut short: not all ${bytes} bytes of its ${part} are there. Copy it again.`);
    const text = atob(digits), content = new Uint8Array(bytes);
    for (let i = 0; i < bytes; ++i) content[i] = text.charCodeAt(i);
    return content;
  };

  // A network, in an instance of the program with a memory of its own.
  class Network {
    constructor(module, model) { Object.assign(this, {module, model}); }
    async start() {
      const fail = (at, length) => { throw new Error(new TextDecoder().decode(this.view(Uint8Array, at, length))); };
      const imports = {retort: {fail}, wasi_snapshot_preview1: {}};
      for (const {module, name} of WebAssembly.Module.imports(this.module)) imports[module][name] ??= () => 52;  // ENOSYS
      const program = (await WebAssembly.instantiate(this.module, imports)).exports;
      this.program = program;
      program._initialize();
      this.hand(this.model);
      program.load();
    }
    view(Type, at, count) { return new Type(this.program.memory.buffer, at >>> 0, count); }
    hand(...pieces) {
      const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
      const room = this.view(Uint8Array, this.program.room(size), size);
      pieces.reduce((at, piece) => (room.set(piece, at), at + piece.length), 0);
    }
    async classify(name, picture) {
      try {
        if (!this.program) await this.start();
        this.hand(name, picture);
        return [...this.view(Float32Array, this.program.classify(name.length), about.classes.length)];
      } catch (error) {
        this.program = null;  // what it was doing when it failed was never undone
        if (error instanceof WebAssembly.RuntimeError)
          error = new Error("the program ended; the picture may be too large for a page's memory: give a smaller one");
        throw error;
      }
    }
  }
  let networks = {};

  // Of the formats that the program does not read, the browser makes a PNG where it can show them.
  const bytesOfPicture = async file => {
    if (/^image\/(webp|avif|heic|svg)/.test(file.type)) {
      const bitmap = await createImageBitmap(file), canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      file = await canvas.convertToBlob();
    }
    return new Uint8Array(await file.arrayBuffer());
  };

  const classify = async file => {
    element("result").hidden = true;
    say("Looking at " + file.name + " ...");
    await new Promise(done => setTimeout(done, 30));  // until that is on the screen
    try {
      const start = performance.now(), picture = await bytesOfPicture(file), name = new TextEncoder().encode(file.name);
      const sample = {student: [], teacher: []};
      for (const [who, network] of Object.entries(networks)) sample[who] = await network.classify(name, picture);
      const took = performance.now() - start, image = element("looked-at");
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(file);
      element("name").textContent = file.name;
      const bars = element("bars");
      bars.replaceChildren();
      bars.sample = sample;
      cards = [makeCard(bars, about.classes, sample)];
      draw();
      element("result").hidden = false;
      say(`In ${took.toFixed(took < 10 ? 1 : 0)} ms, in this browser.`);
    } catch (error) {
      say(error.message.replace(", or pass --skip-bad", ""));
    }
  };
  const take = files => { if (files.length) classify(files[0]); };

  addEventListener("DOMContentLoaded", async () => {
    try {
      const module = await WebAssembly.compile(bytesOf("program"));
      for (const who of ["teacher", "student"])
        if (who in about.bytes) await (networks[who] = new Network(module, bytesOf(who))).start();
      const input = element("picture"), field = element("field");
      input.addEventListener("change", () => take(input.files));
      addEventListener("paste", event => take(event.clipboardData.files));
      addEventListener("dragover", event => { event.preventDefault(); field.classList.add("over"); });
      addEventListener("dragleave", () => field.classList.remove("over"));
      addEventListener("drop", event => {
        event.preventDefault();
        field.classList.remove("over");
        take(event.dataTransfer.files);
      });
      input.disabled = false;
      say("Ready.");
    } catch (error) {
      say(error instanceof WebAssembly.CompileError ? "This browser can't run this page: it needs WebAssembly with SIMD." : error.message);
    }
  });
)";

constexpr std::int64_t kThumbnail = 96;    // pixels
constexpr double kWidestUnscrolled = 480;  // pixels: shrunk to a phone, its text can still be read
constexpr std::size_t kColumnsOfAPhone = 3;
constexpr double kLowestLogT = -0.5, kHighestLogT = 1.6;

/// A notch at the run's temperature, and a button that goes there.
std::string mark_of_slider(double temperature) {
  const double at = std::clamp(std::log10(temperature), kLowestLogT, kHighestLogT);
  const double share = (at - kLowestLogT) / (kHighestLogT - kLowestLogT);
  constexpr double kHalfThumb = 8;  // pixels: the thumb's middle stays so far from the ends
  const std::string left = text("calc(", 100 * share, "% + ", kHalfThumb * (1 - 2 * share), "px)");
  return text("<span class=\"at\" style=\"left:", left,
              "\"></span><button type=\"button\" id=\"temperature-own\" "
              "style=\"left:",
              left, "\" value=\"", at, "\">this run: T = ", number(temperature, 3), "</button>");
}

/// It sticks to the window's top as far as the cards go: to the end of the element around both.
std::string slider(std::optional<double> marked) {
  return text(
      "<div class=\"slider\"><label for=\"temperature\">temperature</label><span class=\"track\"><input "
      "id=\"temperature\" type=\"range\" min=\"",
      kLowestLogT, "\" max=\"", kHighestLogT, "\" step=\"0.01\" value=\"0\">", marked ? mark_of_slider(*marked) : "",
      "</span><output id=\"temperature-shown\"></output></div>\n");
}

/// What the colours of the bars mean.
std::string key(bool taught, const std::string& student_name) {
  return text("<p class=\"key\">", taught ? "<i class=\"teacher\"></i>teacher" : "", "<i class=\"student\"></i>",
              escape(student_name), "</p>\n");
}

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.,+-%e ") == cell.npos &&
         cell.find_first_of("0123456789") != cell.npos;
}

std::string base64(const std::vector<std::uint8_t>& bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) result += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return result;
}

/// JSON within a script element: nothing in it may look like the element's end.
std::string script_json(const Json& json) {
  std::string dumped = json_text(json), result;
  for (const char c : dumped) c == '<' ? result += "\\u003c" : result += c;
  return result;
}

std::string script(std::initializer_list<const char*> pieces) {
  std::string whole = "<script>\n(() => {";
  for (const char* const piece : pieces) whole += piece;
  return whole + "})();\n</script>\n";
}

}  // namespace

std::string data_uri(const Image& image, std::int64_t side) {
  const std::int64_t longest = std::max(image.width, image.height);
  Image small = image;
  if (longest > side) {
    small.width = std::max<std::int64_t>(1, image.width * side / longest);
    small.height = std::max<std::int64_t>(1, image.height * side / longest);
    const Box whole{0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
    small.pixels.clear();
    for (const float sample : resize(image, whole, small.width, small.height))
      small.pixels.push_back(static_cast<std::uint8_t>(std::clamp(std::lround(sample), 0L, 255L)));
  }
  return "data:image/png;base64," + base64(encode_png(small));
}

Page::Page(const std::string& title) : title_(title) {}

void Page::section(const std::string& heading) { body_ += "<h2>" + escape(heading) + "</h2>\n"; }

void Page::paragraph(const std::string& text) { body_ += "<p>" + escape(text) + "</p>\n"; }

void Page::command(const std::string& line) {
  body_ += "<p>The command:";
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    body_ += " <code>" + escape(line.substr(at, end - at)) + "</code>";
    at = end + 1;
  }
  body_ += "</p>\n";
}

void Page::table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> numeric(columns.size(), true);
  for (const auto& row : rows) {
    check(row.size() == columns.size(), "page: ", row.size(), " cells in a row of ", columns.size(), " columns");
    for (std::size_t i = 0; i < row.size(); ++i) numeric[i] = numeric[i] && (row[i].empty() || is_number(row[i]));
  }
  const auto add = [&](const char* tag, const std::vector<std::string>& cells) {
    body_ += "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i)
      body_ += text("<", tag, numeric[i] ? " class=\"n\">" : ">", escape(cells[i]), "</", tag, ">");
    body_ += "</tr>\n";
  };
  body_ += columns.size() > kColumnsOfAPhone ? "<div class=\"wide\" tabindex=\"0\"><table>\n"
                                             : "<div class=\"wide\"><table>\n";
  if (std::any_of(columns.begin(), columns.end(), [](const std::string& name) { return !name.empty(); }))
    add("th", columns);
  for (const auto& row : rows) add("td", row);
  body_ += "</table></div>\n";
}

void Page::begin_fold(const std::string& heading) { body_ += "<details><summary>" + escape(heading) + "</summary>\n"; }

void Page::end_fold() { body_ += "</details>\n"; }

void Page::gallery(const std::vector<Thumbnail>& thumbnails) {
  body_ += "<div class=\"gallery\">\n";
  for (const Thumbnail& thumbnail : thumbnails) {
    body_ += "<div><img alt=\"\" src=\"" + data_uri(thumbnail.image, kThumbnail) + "\">";
    for (std::size_t i = 0; i < thumbnail.lines.size(); ++i)
      body_ += (i > 0 ? "<br>" : "") + escape(thumbnail.lines[i]);
    body_ += "</div>\n";
  }
  body_ += "</div>\n";
}

void Page::figure(const std::string& svg) {
  // Figures that follow each other share a row where there is room.
  const std::string end = "</div><!-- figures -->\n";
  if (body_.ends_with(end))
    body_.erase(body_.size() - end.size());
  else
    body_ += "<div class=\"figures\">\n";
  const std::size_t width = svg.find(" width=\"");
  const bool wide = width != svg.npos && std::atof(svg.c_str() + width + 8) > kWidestUnscrolled;
  body_ += (wide ? "<figure class=\"scroll\" tabindex=\"0\">" : "<figure>") + svg + "</figure>\n" + end;
}

void Page::samples(const std::vector<std::string>& classes, const std::vector<PageSample>& samples,
                   const std::string& student_name, std::optional<double> marked) {
  check(script_.empty(), "page: a second group of samples");
  Json json = {{"classes", classes}, {"samples", Json::array()}};
  body_ += "<div>" + slider(marked);
  const bool taught = std::any_of(samples.begin(), samples.end(), [](const auto& s) { return !s.teacher.empty(); });
  body_ += key(taught, student_name) + "<div class=\"cards\">\n";
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const PageSample& sample = samples[i];
    check(
        sample.student.size() == classes.size() && (sample.teacher.empty() || sample.teacher.size() == classes.size()),
        "page: '", sample.name, "' has not one logit for each of ", classes.size(), " classes");
    body_ +=
        text("<div class=\"card\"><header><img alt=\"\" src=\"", data_uri(sample.image, kThumbnail), "\"><div>",
             escape(sample.name), sample.truth.empty() ? "" : text("<br>true class: <b>", escape(sample.truth), "</b>"),
             "</div></header><div class=\"bars\" id=\"bars-", i, "\"></div></div>\n");
    json["samples"].push_back({{"truth", sample.truth}, {"student", sample.student}, {"teacher", sample.teacher}});
  }
  body_ += "</div></div>\n<noscript><p>The bars need JavaScript.</p></noscript>\n";
  script_ = "<script type=\"application/json\" id=\"samples\">" + script_json(json) + "</script>\n" +
            script({kBars, kSamples});
}

void Page::classifier(const PageProgram& program, const std::vector<std::string>& classes,
                      const std::string& student_name, std::optional<double> marked) {
  check(script_.empty(), "page: a classifier beside samples");
  head_ =
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline' "
      "'wasm-unsafe-eval'; style-src 'unsafe-inline'; img-src blob:\">\n";
  body_ +=
      "<label class=\"field\" id=\"field\">Drop a picture here, paste one, or choose a file"
      "<input id=\"picture\" type=\"file\" accept=\"image/*\" disabled></label>\n"
      "<p id=\"said\" role=\"status\">This page is being read. If this line stays, the page was cut short: copy it "
      "again.</p>\n<noscript><p>This page needs JavaScript.</p></noscript>\n<div class=\"one\" id=\"result\" hidden>" +
      slider(marked) + key(!program.teacher.empty(), student_name) +
      "<div class=\"card\"><header><img id=\"looked-at\" alt=\"\"><div id=\"name\"></div></header>"
      "<div class=\"bars\" id=\"bars\"></div></div></div>\n";
  Json about = {{"classes", classes}, {"bytes", Json::object()}};
  std::string parts;
  const auto add = [&](const char* name, const std::vector<std::uint8_t>& bytes) {
    if (bytes.empty()) return;
    about["bytes"][name] = bytes.size();
    parts += text("<script type=\"application/octet-stream\" id=\"", name, "\">", base64(bytes), "</script>\n");
  };
  add("program", program.module);
  add("teacher", program.teacher);
  add("student", program.student);
  script_ = "<script type=\"application/json\" id=\"about\">" + script_json(about) + "</script>\n" +
            script({kBars, kClassifier}) + parts;
}

std::string Page::str() const {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
         "content=\"width=device-width, initial-scale=1\">\n" +
         head_ + (refresh_ > 0 ? "<meta http-equiv=\"refresh\" content=\"" + std::to_string(refresh_) + "\">\n" : "") +
         "<title>" + escape(title_) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1>" +
         escape(title_) + "</h1>\n" + body_ + script_ + "</body>\n</html>\n";
}

}  // namespace retort
