"""How the page looks, on a screen and on paper."""

CSS = """
@page { size: A4; margin: 14mm }
body { font: 10.5pt/1.4 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; color: #1a1a1a;
  max-width: 182mm; margin: 8mm auto; padding: 0 4mm; background: #fff }
h1 { font-size: 18pt; margin: 0 0 2mm } h2 { font-size: 13pt; margin: 7mm 0 2mm; break-after: avoid }
p { margin: 1.2mm 0 } header { border-bottom: 1px solid #999; padding-bottom: 2mm }
.warning { color: #9b2d00; font-weight: 600 }
.good { border-left: 4px solid #009e73; padding-left: 2mm }
.open { border-left: 4px solid #d55e00; padding-left: 2mm }
.two { display: flex; gap: 6mm; align-items: flex-start } .two > div { flex: 1 1 auto; min-width: 0 }
.two > div + div { flex: 1 1 95mm } svg { width: 100%; height: auto }
table { border-collapse: collapse; font-size: 9.5pt; margin: 1mm 0 } thead { display: table-header-group }
th { text-align: left; border-bottom: 1px solid #555; padding: .6mm 2mm; vertical-align: bottom }
td { padding: .6mm 2mm; border-bottom: 1px solid #e2e2e2; vertical-align: top } tr { break-inside: avoid }
.differential td:nth-child(n+2), .differential th:nth-child(n+2),
.slides td:nth-child(n+2), .slides th:nth-child(n+2) { text-align: right; font-variant-numeric: tabular-nums }
.slides { font-size: 8pt; width: 100% } .slides td, .slides th { padding: .6mm 1mm }
td:first-child { overflow-wrap: anywhere } .slides small { display: block; color: #666 } .none { color: #999 }
td i { display: inline-block; width: 3mm; height: 3mm; margin-right: 1.5mm; border-radius: .6mm }
.plain { font-size: 8.5pt }
.gallery { display: flex; flex-wrap: wrap; gap: 2.5mm }
figure { margin: 0; width: 30mm; border: 2px solid #999; border-radius: 1mm; padding: 1mm;
  break-inside: avoid; font-size: 8pt; line-height: 1.25; overflow-wrap: anywhere }
figure img { width: 100%; display: block } .gone { display: block; padding: 8mm 1mm; color: #777 }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 7.5pt }
footer { margin-top: 8mm; border-top: 1px solid #999; color: #9b2d00 }
@media screen and (max-width: 640px) { .two { flex-wrap: wrap } td:first-child { overflow-wrap: normal } }
@media print { body { margin: 0; padding: 0; max-width: none } details { display: none } }
"""
