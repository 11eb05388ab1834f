import sys, time, random, math, os, json, traceback
sys.path.insert(0, "bench"); sys.path.insert(0, ".")
import torch
from pathlib import Path
CUDA = torch.cuda.is_available()
dev = torch.device("cuda", 0) if CUDA else torch.device("cpu")
print("torch", torch.__version__, flush=True)
import transformers
from shapes import PHI35
from so8t_engine.settings import ModelSettings, TrainSettings, SO8TSettings
from so8t_engine.model.load import load_model
from so8t_engine.model import load as L
L.check_folder = lambda f: None
from so8t_engine.model.so8t import attach, SO8TLinear
from so8t_engine.model.packed import PackedModel
from so8t_engine.model import pieces
from so8t_engine.model.frozen import dense
from so8t_engine.train.optimizer import build_optimizer
from so8t_engine.train.gradient import Gradient
from so8t_engine.train.budget import Budget, choose, activations
from so8t_engine.train.ranks import Ranks
from so8t_engine.train.loss import answer_loss
from so8t_engine.data.batches import pack, share_out
from so8t_engine.data.template import Example
from contextlib import nullcontext
shape = dict(PHI35)
if not CUDA:
    shape.update(hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4, vocab_size=1000, rope_scaling={"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [2.0] * 16})
F = Path("/tmp/phi35")
t0 = time.time()
if not F.exists():
    with dev:
        m = transformers.Phi3ForCausalLM(transformers.Phi3Config(**shape, dtype=torch.bfloat16)).bfloat16()
    m.save_pretrained(F); del m
    if CUDA: torch.cuda.empty_cache()
print("made", time.time() - t0, flush=True)
def lengths(n=4096, seed=0):
    r = random.Random(seed)
    return [max(64, min(2048, int(r.lognormvariate(math.log(380), 0.55)))) for _ in range(n)]
draw = random.Random(1)
def example(n): return Example(tuple(draw.randrange(10, shape["vocab_size"] - 10) for _ in range(n)), 1, (2, 4))
rows = [example(n) for n in lengths(2000)]
class Never:
    def is_set(self): return False
def sync():
    if CUDA: torch.cuda.synchronize()
t0 = time.time()
base = load_model(F, ModelSettings(quantization="8bit", dtype="bfloat16"), dev); sync()
print("load", time.time() - t0, torch.cuda.memory_allocated() / 2**30 if CUDA else "", flush=True)
model = attach(base, r=64, alpha=128, dropout=0.0, targets=SO8TSettings().targets, rotate=["o_proj"], seed=0).train()
packed = PackedModel(model)
print("flash", packed.flash, "fused", packed.pieces.fused, flush=True)
ts = TrainSettings(optimizer="paged_adamw_8bit", gradient_checkpointing=True)
# correctness of fast against plain
def grads(flash, piece, k):
    packed.flash, packed.pieces, packed.recomputed = flash, piece, k
    with packed.solved():
        loss, sums, _ = answer_loss(packed, pack(rows[:5]).to(dev), 2.0); (loss / 1000).backward()
    g = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    for p in model.parameters(): p.grad = None
    return loss.item(), g
for p_, q in model.named_parameters():
    if "so8t_B" in p_ or "so8t_theta" in p_: torch.nn.init.normal_(q.data, std=0.01)
fast, flash = packed.pieces, packed.flash
a, ga = grads(False, pieces.Plain(), 0)
for name, args in {"flash": (flash, pieces.Plain(), 0), "fused": (False, fast, 0), "both": (flash, fast, 0), "both+recompute": (flash, fast, packed.layers)}.items():
    b, gb = grads(*args); print(name, a, b, ((ga - gb).norm() / ga.norm()).item(), flush=True)
packed.pieces, packed.flash = fast, flash
del ga, gb
opt = build_optimizer(model, ts)
scaler = torch.amp.GradScaler(dev.type, enabled=False)
def steps(T, k, n=6, batch=None):
    packed.recomputed = k
    g = Gradient(packed, Budget(T, k), 2.0, 2048, scaler, Ranks(), dev, nullcontext)
    it = iter(rows * 50)
    toks = 0
    for i in range(n + 2):
        if i == 2:
            sync(); t0 = time.time()
            if CUDA: torch.cuda.reset_peak_memory_stats()
        ex = []
        if batch: ex = [next(it) for _ in range(batch)]
        else:
            s = 0
            while True:
                e = next(it)
                if s + len(e.ids) > T: break
                ex.append(e); s += len(e.ids)
        gen = g.of_step(ex, 1, 0.0, Never())
        try:
            while True: print(next(gen))
        except StopIteration as st: sums = st.value
        torch.nn.utils.clip_grad_norm_(g.parameters, 1.0)
        opt.step(); g.drop()
        if i >= 2: toks += sum(len(e.ids) for e in ex)
    sync(); el = time.time() - t0
    peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0
    print(f"T={T} k={k} batch={batch} {toks/el:,.0f} tok/s {1000*el/n:.0f} ms/step peak {peak:.2f} reserved {torch.cuda.max_memory_reserved()/2**30 if CUDA else 0:.2f} GiB loss {sums.mean:.3f}", flush=True)
LYR = packed.layers
grid = [(8192, 0), (8192, LYR), (4096, 0), (4096, LYR), (2048, LYR), (8192, LYR // 2), (12288, 0), (16384, 0)]
for T, k in grid: 
    steps(T, k)
    if CUDA: torch.cuda.empty_cache()
steps(8192, 0, batch=16)
# without rotation
saved = [(l, l.so8t_theta) for l in model.modules() if isinstance(l, SO8TLinear) and l.so8t_theta]
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
steps(8192, 0)
for l, th in saved: l.so8t_theta = torch.nn.ParameterDict()
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
print("no rotation"); steps(8192, 0); steps(8192, LYR)
for l, th in saved: l.so8t_theta = th
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
from torch.profiler import profile, ProfilerActivity
packed.recomputed = 0
acts = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if CUDA else [])
part = pack(rows[:18]).to(dev)
def one():
    with packed.solved():
        loss, sums, _ = answer_loss(packed, part, 2.0); (loss / 1000).backward()
one(); sync()
h0 = time.time()
with packed.solved():
    loss, sums, _ = answer_loss(packed, part, 2.0); h1 = time.time(); (loss / 1000).backward()
h2 = time.time(); sync(); h3 = time.time()
print(f"host forward {1e3*(h1-h0):.0f} ms, backward {1e3*(h2-h1):.0f}, wait {1e3*(h3-h2):.0f}; tokens {part.tokens}")
with profile(activities=acts) as pr: one(); sync()
print(pr.key_averages().table(sort_by="self_cuda_time_total" if CUDA else "self_cpu_time_total", row_limit=34, max_name_column_width=70), flush=True)
# storage kernels
def bench(f, n=30):
    for _ in range(3): f()
    sync(); t0 = time.time()
    for _ in range(n): f()
    sync(); return 1e6 * (time.time() - t0) / n
up = model.get_base_model().model.layers[0].mlp.gate_up_proj.base_layer
print("dense gate_up us", bench(lambda: dense(up, torch.bfloat16)), "cast only", bench(lambda: up.weight.to(torch.bfloat16)), "cast+mul", bench(lambda: up.weight.to(torch.bfloat16).mul_(up.scale.bfloat16()[:, None])))
o = [l for l in model.modules() if isinstance(l, SO8TLinear) and l.so8t_theta][0]
from so8t_engine.model.so8t_rotation import rotation
R = rotation(o.so8t_theta["default"].detach())
print("dense o rotated us", bench(lambda: dense(o.base_layer, torch.bfloat16, R)), "plain", bench(lambda: dense(o.base_layer, torch.bfloat16)))
from so8t_engine.model.product import _block_products
g = torch.randn(8192, o.out_features, device=dev, dtype=torch.bfloat16)
print("block products us", bench(lambda: _block_products(g, g)))
for n in (1, 16, 64, 256):
    x = torch.randn(n, up.in_features, device=dev, dtype=torch.bfloat16)
    with torch.no_grad():
        line = f"rows {n}: int8linear {bench(lambda: up(x)):.0f} us"
        try: line += f", int8pack {bench(lambda: torch._weight_int8pack_mm(x, up.weight, up.scale.bfloat16())):.0f}"
        except Exception as err: line += f", int8pack {type(err).__name__} {str(err)[:80]}"
        try:
            import bitsandbytes as bnb
            st = bnb.MatmulLtState(); st.CB = up.weight.data; st.SCB = up.scale * 127; st.threshold = 0.0; st.has_fp16_weights = False
            line += f", bnb {bench(lambda: bnb.matmul(x, up.weight, state=st)):.0f}"
        except Exception as err: line += f", bnb {type(err).__name__} {str(err)[:80]}"
    print(line, flush=True)
