#!/usr/bin/env bash
# Run everything on a small synthetic dataset, in a separate virtual environment: images with VOC
# annotations -> TFRecords -> label sheets -> training with the auxiliary tasks -> evaluation report
# -> SavedModel -> boxes in images that the detector has not seen.
#
#   scripts/demo.sh [output directory]        default: demo_output
#
# STEPS=60 scripts/demo.sh trains for fewer steps.
set -euo pipefail
source "$(dirname "$0")/common.sh"
OUTPUT="$(mkdir -p "${1:-demo_output}" && cd "${1:-demo_output}" && pwd)"
# A step takes about four times as long on CPUs without AVX-512.
STEPS="${STEPS:-$(grep -qw avx512f /proc/cpuinfo 2>/dev/null && echo 300 || echo 200)}"
make_venv
installation_start=$SECONDS
install "$ROOT"
seconds_of_installation=$((SECONDS - installation_start))

# Outside of the sources, so that the installed package runs.
cd "$OUTPUT"
CONFIG="$ROOT/samples/configs/faster_rcnn_mobilenet_v1_mtl_synthetic.config"
DATA="$OUTPUT/data"
MODEL="$OUTPUT/model"
EXPORT="$OUTPUT/export"
rm -rf "$DATA" "$MODEL" "$EXPORT" "$OUTPUT"/{labels,report,detections}

seconds_at_start=$SECONDS
title=""
step() { title="$1"; printf '\n== %s\n' "$title"; echo "$title" >"$OUTPUT/.step"; }
# Say every 25 seconds that the demo is at work: the first training step and the export are silent.
report_time() {
  while sleep 25 >/dev/null 2>&1; do
    printf '   ... %s, %d s since the start\n' "$(cat "$OUTPUT/.step")" $((SECONDS - seconds_at_start))
  done
}
report_time &
# Sets cpu to the CPU time, in seconds, of all commands that have ended.
read_cpu_time() {
  times >"$OUTPUT/.step"
  cpu=$(awk 'NR == 2 { gsub("[ms]", " "); print int($1 * 60 + $2 + $3 * 60 + $4) }' "$OUTPUT/.step")
}
read_cpu_time
cpu_of_installation=$cpu
trap 'kill '$!' 2>/dev/null; rm -f "$OUTPUT/.step"' EXIT

step "1/7 Drawing images with VOC annotations"
create_synthetic_voc --output_dir="$DATA" --num_train=240 --num_val=40 --seed=1

step "2/7 Annotations to TFRecords"
for set in train val; do
  create_pascal_tf_record --data_dir="$DATA" --set="$set" \
    --label_map_path="$DATA/label_map.pbtxt" --output_path="$OUTPUT/$set.record"
done

step "3/7 Drawing the labels of the auxiliary tasks"
inspect_labels --data_dir="$DATA" --set=train --num_images=6 --output_dir="$OUTPUT/labels"

step "4/7 Training $STEPS steps with the auxiliary tasks"
SCHEDULE=train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
model_main_tf2 --pipeline_config_path="$CONFIG" --model_dir="$MODEL" \
  --log_every_n=$((STEPS < 20 ? STEPS : 10)) \
  --override="train_config.num_steps=$STEPS" \
  --override="$SCHEDULE.total_steps=$STEPS" \
  --override="$SCHEDULE.warmup_steps=$((STEPS / 10))" \
  --override="train_input_reader.tf_record_input_reader.input_path=$OUTPUT/train.record" \
  --override="train_input_reader.label_map_path=$DATA/label_map.pbtxt" \
  --override="eval_input_reader[0].tf_record_input_reader.input_path=$OUTPUT/val.record" \
  --override="eval_input_reader[0].label_map_path=$DATA/label_map.pbtxt"

# Training leaves the config, with these paths, in the directory of the run.
step "5/7 Evaluation on unseen images, with a report"
evaluate_detector --pipeline_config_path="$MODEL/pipeline.config" --checkpoint_dir="$MODEL" \
  --report="$OUTPUT/report"

step "6/7 Export to a SavedModel"
exporter_main_v2 --pipeline_config_path="$MODEL/pipeline.config" \
  --trained_checkpoint_dir="$MODEL" --output_directory="$EXPORT"

step "7/7 Detecting in six of the unseen images"
IMAGES=()
while read -r name; do IMAGES+=(--images="$DATA/JPEGImages/$name.jpg"); done \
  < <(head -n 6 "$DATA/ImageSets/Main/val.txt")
detect_objects --saved_model_dir="$EXPORT/saved_model" \
  "${IMAGES[@]}" --output_dir="$OUTPUT/detections" --min_score=0.5

seconds=$((SECONDS - seconds_at_start))
step "Done: $seconds s after installation. Open in a browser:"
echo "$OUTPUT/report/report.html    detections, auxiliary predictions beside labels, losses, errors"
echo "$OUTPUT/labels/index.html     the labels of the auxiliary tasks"
echo "and look at the images in $OUTPUT/detections"
echo
echo "From \`pip install .\` to the first detections: $((seconds_of_installation + seconds)) s," \
  "of that $seconds_of_installation s installation"
read_cpu_time
echo "CPU time after installation: $((cpu - cpu_of_installation)) s"
