"""The formulas of docstrings as mathematics, by public name; docstrings say the same in letters of a terminal."""

from __future__ import annotations

FORMULAS = {
    "lehr.Budget": r"p = \frac{\text{spent}}{\text{amount}}",
    "lehr.Constant": r"f(p) = \mathit{value}",
    "lehr.Linear": r"f(p) = \mathit{start} + (\mathit{end} - \mathit{start})\, p",
    "lehr.Cosine": r"f(p) = \mathit{end} + (\mathit{start} - \mathit{end})\, \frac{1 + \cos \pi p}{2}",
    "lehr.Polynomial": r"f(p) = \mathit{end} + (\mathit{start} - \mathit{end})\, (1 - p)^{\mathit{power}}",
    "lehr.Exponential": r"f(p) = \mathit{start} \left(\frac{\mathit{end}}{\mathit{start}}\right)^{p}",
    "lehr.InverseSqrt": r"f(p) = \frac{1}{\sqrt{1 + p / \mathit{timescale}}}",
    "lehr.Steps": r"f(p) = \gamma^{\, |\{m \in \mathit{at} \,:\, m \le p\}|}",
    "lehr.Rex": r"f(p) = \frac{1 - p}{\frac{1}{2} + \frac{1}{2} (1 - p)}",
    "lehr.HyperbolicTangent": r"f(p) = \frac{1 - \tanh(\mathit{low} + (\mathit{high} - \mathit{low})\, p)}{2}",
    "lehr.OneMinusSqrt": r"f(p) = \mathit{end} + (\mathit{start} - \mathit{end}) \left(1 - \sqrt{p}\right)",
    "lehr.Triangular": (
        r"x = \left| 2 c p - 2 \lfloor c p \rfloor - 1 \right|, \quad "
        r"f(p) = \mathit{low} + (1 - \mathit{low}) (1 - x) \quad \text{over } c \text{ cycles}"
    ),
    "lehr.WarmRestarts": (
        r"f(p) = \mathit{low} + (1 - \mathit{low})\, \frac{1 + \cos\left(\pi\, T_{cur} / T_i\right)}{2}"
    ),
    "lehr.schedules.clr_decay": (
        r"f(p) = \mathit{low} + (1 - \mathit{low}) \max\left(0,\, 1 - \frac{p}{\mathit{until}}\right)"
    ),
    "lehr.schedules.exp_range": (
        r"f(p) = \left(\mathit{low} + (1 - \mathit{low})\, \mathrm{triangle}(p)\right) \mathit{end}^{\,p}"
    ),
    "lehr.schedules.exp_range_amplitude": (
        r"f(p) = \mathit{low} + (1 - \mathit{low})\, \mathrm{triangle}(p)\; \mathit{end}^{\,p}"
    ),
    "lehr.schedules.triangular2": (
        r"f(p) = \mathit{low} + (1 - \mathit{low})\, \frac{\mathrm{triangle}(p)}{2^{\lfloor c p \rfloor}} "
        r"\quad \text{over } c \text{ cycles}"
    ),
    "lehr.knee": r"f(p) = \min\left(1,\, \frac{1 - p}{1 - \mathit{explore}}\right) \quad \text{without warm-up}",
    "lehr.one_cycle": (
        r"f(p) = \mathit{initial} + (1 - \mathit{initial})\, \tfrac{1}{2}\left(1 - \cos \tfrac{\pi p}{r}\right) "
        r"\ (p < r), \quad \mathit{final} + (1 - \mathit{final})\, "
        r"\tfrac{1}{2}\left(1 + \cos \tfrac{\pi (p - r)}{1 - r}\right) \ (p \ge r), \quad r = \mathit{rise}"
    ),
    "lehr.warmup_stable_decay": (
        r"f(p) = \frac{p}{w} \ (p < w), \quad 1 \ (w \le p < 1 - d), \quad "
        r"1 - \sqrt{\frac{p - (1 - d)}{d}} \ (p \ge 1 - d), \quad w = \mathit{warmup},\ d = \mathit{decay}"
    ),
    "lehr.CyclicLR": (
        r"\eta_t = \mathit{base\_lr} + (\mathit{max\_lr} - \mathit{base\_lr}) \max(0, 1 - x), \quad "
        r"x = \left| \frac{t}{s} - 2 \left\lfloor 1 + \frac{t}{2 s} \right\rfloor + 1 \right|, "
        r"\quad s = \mathit{step\_size}"
    ),
    "lehr.LinearLR": r"\eta_t = \eta_0 \max\left(0,\, 1 - \frac{t}{T}\right)",
    "lehr.Scheduler": r"\eta_k = \eta_0\, f\left(\frac{\text{spent}}{\text{total}}\right)",
    "lehr.FreezeOut": (
        r"t_i = \left(t_0 + (1 - t_0) \frac{i}{n}\right)^{q}, \quad "
        r"\eta_i(t) = \frac{a_i}{2} \left(1 + \cos \frac{\pi t}{t_i}\right) \ (t < t_i), \quad "
        r"a_i = a / t_i \text{ if } \mathit{scale\_lr} \text{ else } a, \quad q = 1, 2, 3"
    ),
    "lehr.freeze_savings": r"\text{saved} = \frac{\sum_i B_i (1 - t_i)}{F + B}",
    "lehr.Probe": r"\varphi(r) = L(\theta + r \Delta)",
    "lehr.policy.Look": r"\varphi(r) = L(\theta + r \Delta)",
    "lehr.LRTuner": r"\varphi(r) = L(\theta + r \Delta) \approx L - a r + \tfrac{1}{2} b r^2, \quad r^* = \frac{a}{b}",
    "lehr.tuning.Parabola": r"\varphi(r) = \varphi(0) - a r + \tfrac{1}{2} b r^2",
    "lehr.LearnedSchedule": r"f = e^{\mathit{level}} (1 - p)",
    "lehr.learned.BudgetNetwork": (
        r"\frac{d\, \mathit{level}}{d p} = 20 \tanh\left(w_2 \cdot \tanh(W_1 s + b_1) + b_2\right)"
    ),
    "lehr.MLRSNet": (
        r"f = \gamma\, \sigma(w \cdot h + b), \quad h, c = \mathrm{LSTM}(L / \mathit{loss\_scale},\, h,\, c)"
    ),
    "lehr.mlrsnet.MLRSNetwork": r"h, c = \mathrm{LSTM}(L, h, c), \quad \frac{\alpha}{\gamma} = \sigma(w \cdot h + b)",
    "lehr.mlrsnet.PublishedGamma": (
        r"\gamma = \max\left(\mathit{floor},\, \frac{1}{4} \left| \frac{\sqrt{L}\, \ln (L C)}{C^{1/4}} \right|\right)"
    ),
    "lehr.mlrsnet.InnerSGD": r"v \leftarrow \mu v + g + \lambda w, \quad \text{direction} = v",
    "lehr.mlrsnet.InnerAdamW": (
        r"\text{direction} = \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda w"
    ),
    "lehr.range_test": (
        r"\eta_i = \mathit{low} \left(\frac{\mathit{high}}{\mathit{low}}\right)^{i / (n - 1)} \text{ (exp)}, \quad "
        r"\eta_i = \mathit{low} + (\mathit{high} - \mathit{low}) \frac{i}{n - 1} \text{ (linear)}"
    ),
    "lehr.plan": r"\text{updates} = \frac{\text{seconds}}{\text{mean seconds an update}}",
}

EXAMPLES = {
    "lehr.Constant": "Constant()",
    "lehr.Linear": "Linear()",
    "lehr.Cosine": "Cosine()",
    "lehr.Polynomial": "Polynomial(power=2)",
    "lehr.Exponential": "Exponential(end=0.01)",
    "lehr.InverseSqrt": "InverseSqrt()",
    "lehr.Steps": "Steps()",
    "lehr.Rex": "Rex()",
    "lehr.HyperbolicTangent": "HyperbolicTangent()",
    "lehr.OneMinusSqrt": "OneMinusSqrt()",
    "lehr.Triangular": "Triangular(cycles=4, low=0.2)",
    "lehr.WarmRestarts": "WarmRestarts(cycles=3, growth=2)",
    "lehr.schedules.clr_decay": "clr_decay(low=0.2, until=0.4)",
    "lehr.schedules.exp_range": "exp_range(cycles=4, low=0.3, end=0.2)",
    "lehr.schedules.exp_range_amplitude": "exp_range_amplitude(cycles=4, low=0.3, end=0.2)",
    "lehr.schedules.triangular2": "triangular2(cycles=4, low=0.2)",
    "lehr.knee": "knee()",
    "lehr.one_cycle": "one_cycle()",
    "lehr.warmup_stable_decay": "warmup_stable_decay()",
}
"""What each schedule's picture shows."""
