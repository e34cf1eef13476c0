// A page of HTML that needs nothing else: no network, no script. It follows the reader's light or dark scheme, fits a phone,
// and prints.

import ResNetSupport

/// A page of HTML in one file.
struct ReportPage {
    let title: String
    /// Below the title.
    let lead: String
    private var body = ""

    init(title: String, lead: String) {
        self.title = title
        self.lead = lead
    }

    /// A part with a heading; `html` is taken as it is.
    mutating func section(_ heading: String, _ html: String, note: String? = nil) {
        let note = note.map { "<p class=\"note\">\(escaped($0))</p>\n" } ?? ""
        body += "<section>\n<h2>\(escaped(heading))</h2>\n\(note)\(html)\n</section>\n"
    }

    /// Numbers with their names, large.
    mutating func numbers(_ values: [(name: String, value: String)]) {
        let items = values.map { "<div><dt>\(escaped($0.name))</dt><dd>\(escaped($0.value))</dd></div>" }
        body += "<dl class=\"numbers\">\(items.joined())</dl>\n"
    }

    var html: String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <link rel="icon" href="data:,">
        <title>\(escaped(title))</title>
        <style>\(Self.style)</style>
        </head>
        <body>
        <main>
        <h1>\(escaped(title))</h1>
        <p class="lead">\(escaped(lead))</p>
        \(body)</main>
        </body>
        </html>

        """
    }

    // MARK: - Parts

    /// Boxes side by side where there is room.
    static func row(_ items: [(caption: String, html: String)]) -> String {
        let figures = items.map { "<figure><figcaption>\(escaped($0.caption))</figcaption>\n\($0.html)</figure>" }
        return "<div class=\"row\">\n\(figures.joined(separator: "\n"))\n</div>"
    }

    /// A table; cells from `numeric` on are numbers, and one that is a bar stands for a part of 1.
    static func table(_ header: [String], _ rows: [[Cell]]) -> String {
        func cell(_ cell: Cell) -> String {
            switch cell {
            case .text(let text): "<td>\(escaped(text))</td>"
            case .number(let text): "<td class=\"n\">\(escaped(text))</td>"
            case .bar(let part):
                "<td class=\"n bar\" style=\"--part:\(fixed(100 * part, 1))%\"><span>\(fixed(part, 3))</span></td>"
            }
        }
        let head = header.map { "<th scope=\"col\">\(escaped($0))</th>" }.joined()
        let lines = rows.map { "<tr>\($0.map(cell).joined())</tr>" }.joined(separator: "\n")
        return "<div class=\"scroll\"><table><thead><tr>\(head)</tr></thead><tbody>\n\(lines)\n</tbody></table></div>"
    }

    /// Names and what they are; long values go on in the next line.
    static func list(_ items: [(name: String, value: String)]) -> String {
        let lines = items.map { "<tr><th scope=\"row\">\(escaped($0.name))</th><td>\(escaped($0.value))</td></tr>" }
        return
            "<div class=\"scroll\"><table class=\"list\"><tbody>\n\(lines.joined(separator: "\n"))\n</tbody></table></div>"
    }

    enum Cell {
        case text(String)
        case number(String)
        /// 0...1, with a bar behind.
        case bar(Double)
    }

    /// Closed until it is opened; open in print.
    static func folded(_ summary: String, _ html: String) -> String {
        "<details><summary>\(escaped(summary))</summary>\n\(html)\n</details>"
    }

    /// Commands, a line each; a line breaks between words, not behind the hyphens of an option.
    static func commands(_ commands: [String]) -> String {
        let lines = commands.map { command in
            command.split(separator: " ").map { "<span>\(escaped(String($0)))</span>" }.joined(separator: " ")
        }
        return "<pre>\(lines.joined(separator: "\n"))</pre>"
    }

    private static let style = """

        :root { --page: #fbfbfa; --card: #ffffff; --text: #1c1d1f; --muted: #62666d; --line: #dfe1e4; --hit: #0072b2;
          --miss: #c25000; --hit-cell: #0072b2; --miss-cell: #d55e00; --bar: #cfe3f1; --line-1: #0072b2; --line-2: #d55e00;
          --line-3: #009e73; --line-4: #cc79a7; --line-5: #e69f00; --line-6: #56b4e9; }
        @media screen and (prefers-color-scheme: dark) { :root { --page: #17181a; --card: #202225; --text: #e8e8e6;
          --muted: #9ba0a8; --line: #383b40; --hit: #56b4e9; --miss: #f0883e; --hit-cell: #2878b5; --miss-cell: #c9571b;
          --bar: #1f4763; --line-1: #56b4e9; --line-2: #f0883e; --line-3: #2fc79a; --line-4: #e69ac8; --line-5: #f2c14e;
          --line-6: #b8a5f0; } }
        @media print { :root { --page: #fff; --card: #fff; --text: #000; --muted: #444; --line: #ccc; }
          .numbers, figure, tr, pre { break-inside: avoid; } h2, .note, summary { break-after: avoid; }
          details::details-content { content-visibility: visible; block-size: auto; } .numbers dd { font-size: 1.25em; }
          * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--text);
          font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
        main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 48px; }
        h1 { font-size: 1.7em; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
        h2 { font-size: 1.15em; margin: 34px 0 10px; }
        .lead, .note { color: var(--muted); margin: 0 0 12px; overflow-wrap: anywhere; }
        .numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; margin: 22px 0; }
        .numbers div, figure, .scroll, details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
        .numbers div { padding: 10px 14px; }
        dt { color: var(--muted); font-size: .85em; } dd { margin: 0; font-size: 1.5em; font-variant-numeric: tabular-nums;
          white-space: nowrap; }
        .row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 14px; align-items: start; }
        figure { margin: 0; padding: 12px; min-width: 0; overflow-x: auto; } .row + .row { margin-top: 14px; } figcaption { font-size: .9em; color: var(--muted); margin-bottom: 6px; }
        svg { display: block; width: 100%; max-width: 440px; height: auto; }
        .scroll { overflow-x: auto; } .scroll .scroll { border: 0; }
        table { border-collapse: collapse; width: 100%; font-size: .93em; }
        th, td { text-align: left; padding: 5px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
        tr:last-child td { border-bottom: 0; } th { color: var(--muted); font-weight: 600; }
        td.n { font-variant-numeric: tabular-nums; }
        td.bar { background: linear-gradient(to right, var(--bar) var(--part), transparent var(--part)); min-width: 92px; }
        table.list th { vertical-align: top; } table.list td { white-space: normal; overflow-wrap: anywhere; width: 100%; }
        details { padding: 8px 12px; margin-top: 10px; } summary { cursor: pointer; } details > .scroll { border: 0; margin-top: 8px; }
        .pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 14px; }
        .pictures img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #8882; border-radius: 4px; }
        .pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 226px), 1fr)); }
        .views { display: flex; gap: 6px; } .views img { flex: 1 1 0; min-width: 0; }
        .pictures img.small { image-rendering: pixelated; }
        .pictures figcaption { margin: 6px 0 0; color: var(--text); overflow-wrap: anywhere; font-size: .85em; line-height: 1.35; }
        .pictures small { color: var(--muted); }
        .hit { color: var(--hit); } .miss { color: var(--miss); }
        @media print { .pairs { grid-template-columns: repeat(3, 1fr); } }
        @media screen and (max-width: 520px) { .pairs figure { display: flex; gap: 10px; } .pairs .views { flex: 0 0 56%; } }
        @media (max-width: 520px) { main { padding: 18px 12px 32px; } table { font-size: .8em; }
          th, td { padding: 5px; } td.bar { min-width: 44px; } }
        pre span { display: inline-block; max-width: 100%; }
        pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border: 1px solid var(--line);
          border-radius: 8px; padding: 12px; font-size: .88em; }

        """
}
