#!/bin/sh
# Makes the runs of this record, or those that are missing; about two hours on two cores. Data: see lehr tasks.
set -eu
here=$(dirname "$0")
methods=linear,step,constant,exponential,cosine,polynomial,htd,rex,knee,one_cycle,wsd
small="1%x5,5%x5,10%x5,25%,50%,100%"

lehr compare --task digits --budget 30ep --budgets "$small" --seeds 5 --evaluations 8 \
    --lr-grid 0.03,0.1,0.3,1 --search-seeds 3 --methods $methods --out "$here/digits"
lehr compare --task tinyshakespeare --budget 300steps --budgets "$small" --seeds 3 --evaluations 8 \
    --lr-grid 0.001,0.003,0.01 --methods $methods --out "$here/tinyshakespeare"
lehr compare --task cifar10 --budget 2ep --budgets "$small" --seeds 3 --evaluations 8 \
    --lr-grid 0.03,0.1,0.3 --methods $methods --out "$here/cifar10"
