#!/usr/bin/env bash
# The whole example with the tiny model on a CPU, from the root of a checkout:
#   bash examples/code_agent/smoke.sh [folder for what it makes]
set -euo pipefail

export OSVL_HOME=${1:-outputs/code_agent} OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
STEPS=80

python -m examples.code_agent.data "$OSVL_HOME/data"
python -m examples.code_agent.warmup "$OSVL_HOME"
timeout 600 torchrun --standalone --nproc_per_node=1 -m verl.trainer.sft_trainer \
    --config-name osvl_tiny_sft trainer.total_training_steps=$STEPS
ln -sfn "checkpoints/global_step_$STEPS/huggingface" "$OSVL_HOME/sft/model"
timeout 900 python -m verl.trainer.main_ppo --config-dir examples/code_agent --config-name code_agent_tiny
