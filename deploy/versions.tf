terraform {
  # 1.11 brought write-only arguments, by which no secret comes into the state.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The one that the tests run with.
      version = "5.100.0"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "this" {}
