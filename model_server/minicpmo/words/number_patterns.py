"""How the kinds of numbers are written, each a named group of one pattern; the first that fits is meant."""

from __future__ import annotations

import re

_N = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_SIGN = "[$€£¥￥₩₹]"
_SCALE = r"(?:\ ?(?:thousand|million|billion|trillion)\b|[kKmMbB](?![\w])|[百千万亿])"

KINDS = re.compile(
    rf"""
    (?P<date>(?<!\d)(?P<y>\d{{4}})([-/])(?P<m>0?[1-9]|1[0-2])\3(?P<d>0?[1-9]|[12]\d|3[01])(?!\d))
  | (?P<slashed>(?<![\d/])(?P<first>0?[1-9]|[12]\d|3[01])/(?P<second>0?[1-9]|[12]\d|3[01])/(?P<y3>[12]\d{{3}})(?![\d/]))
  | (?P<time>(?<![\d:.])(?P<h>[01]?\d|2[0-4]):(?P<min>[0-5]\d)(?::(?P<s>[0-5]\d))?(?![\d:])
      (?P<half>\ ?(?:[AaPp]\.[Mm]\.|[AaPp][Mm]\b))?)
  | (?P<hour>(?<![\d:.])(?P<h2>1[0-2]|0?[1-9])(?P<half2>\ ?(?:[AaPp]\.[Mm]\.|[AaPp][Mm]\b)))
  | (?P<phone>\+\d{{1,3}}(?:[- ]\(?\d{{2,5}}\)?){{1,5}}|\(\d{{3}}\)\ ?\d{{3}}[- ]\d{{4}}
      |(?<![\d-])(?:\d{{2,5}}(?:-\d{{2,5}}){{2,}}|\d{{3}}-\d{{4}}|\d{{3}}\ \d{{3,4}}\ \d{{4}})(?![\d-])|\+\d{{6,}})
  | (?P<price>(?P<neg>(?<!\w)[-−])?(?:US|HK|A|C)?(?P<sign>{_SIGN})\ ?(?P<amount>{_N})(?P<scale>{_SCALE})?)
  | (?P<price_behind>(?P<neg2>(?<![\w.])[-−])?(?P<amount2>{_N})\ ?(?P<sign2>{_SIGN})(?!\d))
  | (?P<version>\d+(?:\.\d+){{2,}})
  | (?P<fraction>(?<![\d/.])(?P<above>\d{{1,2}})/(?P<below>\d{{1,3}})(?![\d/]))
  | (?P<range>(?<![\w.])(?P<low>{_N})\ ?[-–—~～]\ ?(?P<high>{_N})(?P<unit>\ ?[%％]|\ ?°\ ?[CF]|℃)?(?![\d-]))
  | (?P<ratio>(?<![\d:])(?P<left>\d+):(?P<right>\d+)(?![\d:]))
  | (?P<percent>(?P<neg3>(?<![\w.])[-−])?(?P<share>{_N})\ ?[%％])
  | (?P<degrees>(?P<neg4>(?<![\w.])[-−])?(?P<heat>{_N})\ ?(?:°\ ?(?P<scale2>[CF])?|(?P<scale3>[℃℉])))
  | (?P<ordinal>(?P<place>\d{{1,9}})(?:st|nd|rd|th)\b)
  | (?P<decade>(?<![\w.])(?P<tens>(?:1[1-9]|20)?\d0)'?s\b)
  | (?P<chinese_year>(?<!\d)(?P<y2>[12]\d{{3}})(?=年))
  | (?P<numbered>\#(?=\d))
  | (?P<operator>(?<=\d)\ ?(?P<op>[×÷=+])(?=\ ?[-\d]|$))
  | (?P<per>(?<=\d)/(?=[^\W\d]))
  | (?P<plain>(?P<neg5>(?<![\w.)])[-−+])?(?P<value>{_N}))
    """,
    re.VERBOSE,
)
